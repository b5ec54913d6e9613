//! The ttrpc protocol (containerd/ttrpc, PROTOCOL.md): a codec without I/O, a client and a server on tokio.
//!
//! It promises that a message is at most 4 MiB, that every call has a deadline or is cancelled with its connection,
//! that one slow handler delays no other, and that a malformed frame ends its connection and nothing else. It knows no service.
//! Only unary calls are spoken, which is what the task, sandbox and events APIs need.
//!
//! It runs on any tokio runtime with I/O and time; an idle connection costs its task and no buffer.
//!
//! ```
//! use std::sync::Arc;
//! use bytes::Bytes;
//! use wharf_ttrpc::{BoxFuture, CallOptions, Client, Context, Handler, Server, Status};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn call<'a>(&'a self, _: Context, method: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
//!         Box::pin(async move {
//!             match method {
//!                 "Echo" => Ok(payload.to_vec()),
//!                 other => Err(Status::unknown_method(other)),
//!             }
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let socket = dir.path().join("s");
//! let listener = tokio::net::UnixListener::bind(&socket)?;
//! tokio::spawn(Server::new().service("demo.Echo", Arc::new(Echo)).serve(listener, std::future::pending()));
//!
//! let client = Client::connect(&socket).await?;
//! let answer: String = client.call("demo.Echo", "Echo", &"hello".to_owned(), &CallOptions::default()).await?;
//! assert_eq!(answer, "hello");
//! # Ok(())
//! # }
//! ```

pub mod client;
pub mod codec;
pub mod envelope;
pub mod server;
pub mod status;
mod wire;

pub use client::{CallOptions, Client};
pub use server::{BoxFuture, Context, Handler, NAMESPACE_KEY, Server};
pub use status::{Code, Status};
