//! The ttrpc protocol (containerd/ttrpc, PROTOCOL.md): a codec without I/O, a client and a server on tokio.
//!
//! It promises that a message is at most 4 MiB, that every call has a deadline or is cancelled with its connection,
//! that one slow handler delays no other, and that a malformed frame ends its connection and nothing else. It knows no service.
//! Only unary calls are spoken, which is what the task, sandbox and events APIs need.

pub mod client;
pub mod codec;
pub mod server;
pub mod status;

pub use client::{CallOptions, Client};
pub use server::{Context, Handler, Server};
pub use status::{Code, Status};
