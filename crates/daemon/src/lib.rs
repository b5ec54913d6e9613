//! `wharfd`: configuration, wiring, signals. It decides nothing else.
//!
//! It promises that two daemons never share a root or a state directory, that its sockets are for their owner alone, that a
//! stop leaves containers running, and that it is ready only when clients are served.

mod cgroup;
pub mod cli;
mod collector;
pub mod config;
mod directories;
mod gc;
mod logs;
mod notify;
mod oci_hook;
mod registries;
mod restart;
mod run;
mod sockets;
mod stop;
mod stores;
mod wire;

pub use run::main;
