//! Foreign stores over containerd's API, as our traits.
//!
//! A [`Plugin`] is a program that serves one of containerd's services on a unix socket: [`ProxySnapshotter`],
//! [`ProxyContent`] and [`ProxyApplier`] are the traits over it. They promise that every call ends by a deadline, that one
//! that cannot be made is `Unavailable` and names the plugin and its socket, and that a plugin that comes back is used
//! again without more ado. Nothing connects before the first call, so a plugin that is not there holds nobody up. They
//! start no program and keep nothing on disk.
//!
//! Calls block, as those of the traits do, and are made on the runtime that the plugin was given: from a thread of its own,
//! never from one that drives the runtime.
//!
//! ```no_run
//! use wharf_proxy::{Plugin, ProxySnapshotter};
//! use wharf_snapshot::Snapshotter as _;
//!
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
//! let plugin = Plugin::new("stargz", "/run/stargz.sock", runtime.handle());
//! let snapshots = ProxySnapshotter::new(plugin);
//! println!("{:?}", snapshots.stat("layer")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod content;
mod convert;
mod plugin;
mod refusal;
mod snapshot;

pub use apply::ProxyApplier;
pub use content::ProxyContent;
pub use plugin::Plugin;
pub use refusal::Refusal;
pub use snapshot::ProxySnapshotter;
