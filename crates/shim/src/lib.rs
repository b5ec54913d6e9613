//! The program that lives beside a container.
//!
//! A shim is the parent of its container's processes: it holds their stdio, reaps them, remembers how they ended and tells
//! the daemon. It promises that the daemon may die at any instant without a container noticing, that an exit is on disk
//! before anybody is told of it, and that every event is delivered at least once and in order, however long the daemon is
//! away. It speaks containerd's shim protocol (pkg/shim) and its task API over ttrpc, versions 2 and 3, on a socket that only
//! its owner can open. It never pulls, stores or networks, and writes nowhere but into its bundles and beside its socket.
//!
//! Where things are: [`main`] takes a command line; `start` makes the socket and detaches; `serve` runs the server;
//! `service` translates calls into operations on a `Container` and its `Process`es; `stdio` and `pump` carry bytes;
//! `outbox` and `forward` carry events; `ledger` holds exits; `delete` cleans up after a shim that died.

mod bootstrap;
mod cgroup;
mod container;
mod delete;
mod error;
mod exec;
mod exit;
mod flags;
mod forward;
mod info;
mod ledger;
mod oom;
mod options;
mod outbox;
mod process;
mod pump;
mod sandbox;
mod serve;
mod service;
mod shim;
mod socket;
mod spec;
mod start;
mod stats;
mod stdio;
mod time;
mod unfinished;

use std::io::Write as _;
use std::process::ExitCode;

pub use error::{Error, Result};

/// Runs the shim on its command line, the program's name left out.
#[must_use]
pub fn main(args: impl Iterator<Item = String>) -> ExitCode {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "containerd-shim-wharf-v1: {}", error::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(args: impl Iterator<Item = String>) -> Result<()> {
    let flags = flags::Flags::parse(args)?;
    if flags.version {
        return info::version();
    }
    if flags.info {
        return info::info();
    }
    if flags.namespace.is_empty() {
        return Err(Error::invalid("-namespace is missing: the shim must be told which namespace it serves"));
    }
    match flags.action.as_str() {
        "start" => start::start(&flags),
        "delete" => delete::delete(&flags),
        other => Err(Error::invalid(format!("unknown action {other:?}: wanted start or delete"))),
    }
}
