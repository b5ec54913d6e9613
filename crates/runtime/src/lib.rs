//! Drives an OCI runtime through its command line.
//!
//! A [`Runtime`] promises that the runtime's own words reach the caller when it refuses, that no call outlives its deadline
//! (a hung runtime is killed), and that children are waited for by pidfd, so that it works in a process that reaps orphans
//! itself ([`Children`]). It never looks into a bundle, mounts nothing, and keeps no record of containers.
//!
//! ```no_run
//! use wharf_runtime::{Children, Create, Runc, Runtime as _};
//!
//! # async fn example() -> wharf_runtime::Result<()> {
//! let runc = Runc::new("runc", "/run/wharf/runc/default", Children::default());
//! let started = runc.create("web", Create { bundle: "/run/wharf/bundles/web".into(), ..Create::default() }).await?;
//! runc.start("web").await?;
//! println!("{} ended: {:?}", started.child.pid(), started.child.wait().await);
//! runc.delete("web", false).await
//! # }
//! ```

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::Deserialize;

mod children;
mod command;
mod console;
mod error;
mod runc;
mod watch;

pub use children::{Child, Children, Hold};
pub use error::{Error, Result};
pub use runc::Runc;
pub use watch::watch;
pub use wharf_sys::process::Ended;

/// What an OCI runtime does for containers (opencontainers/runtime-spec, runtime.md; the command line of runc).
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Creates a container; its namespaces exist afterwards, and the user's process does not run yet.
    ///
    /// # Errors
    /// `AlreadyExists`; the runtime's own words where it refuses the bundle.
    async fn create(&self, id: &str, create: Create) -> Result<Started>;

    /// Runs the user's process.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` when it runs already or has ended.
    async fn start(&self, id: &str) -> Result<()>;

    /// Sends a signal to the first process, or to all of them.
    ///
    /// # Errors
    /// `NotFound` when there is no such container or it has ended.
    async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<()>;

    /// Removes what the runtime holds of a container; with `force` kills it first, and a missing one is no error.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` while it runs.
    async fn delete(&self, id: &str, force: bool) -> Result<()>;

    /// Runs an additional process and returns without waiting for its end.
    ///
    /// # Errors
    /// `NotFound`; the runtime's own words where the program cannot be run.
    async fn exec(&self, id: &str, exec: Exec) -> Result<Started>;

    /// Freezes all processes.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` when it does not run.
    async fn pause(&self, id: &str) -> Result<()>;

    /// Thaws them.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` when it is not paused.
    async fn resume(&self, id: &str) -> Result<()>;

    /// What the runtime knows of a container.
    ///
    /// # Errors
    /// `NotFound`.
    async fn state(&self, id: &str) -> Result<State>;

    /// The pids of all its processes, as the host counts them.
    ///
    /// # Errors
    /// `NotFound`.
    async fn ps(&self, id: &str) -> Result<Vec<u32>>;

    /// Changes limits; `resources` is the JSON of the specification's `linux.resources`.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` or the runtime's own words for limits that cannot be set.
    async fn update(&self, id: &str, resources: Vec<u8>) -> Result<()>;

    /// Writes a checkpoint of a container into a directory.
    ///
    /// # Errors
    /// `Unimplemented` where nobody built it.
    async fn checkpoint(&self, id: &str, path: PathBuf) -> Result<()> {
        let _ = (id, path);
        Err(Error::Unimplemented { what: "checkpoint".into() })
    }

    /// The runtime's description of itself: JSON as features.md of the specification has it.
    ///
    /// # Errors
    /// `Unimplemented` for a runtime that cannot tell.
    async fn features(&self) -> Result<Vec<u8>>;
}

/// What a container is created from.
#[derive(Debug, Default)]
pub struct Create {
    /// The directory with `config.json` and the root filesystem.
    pub bundle: PathBuf,
    /// Its standard input and outputs.
    pub io: Io,
    /// The runtime writes the first process's pid here; `<bundle>/init.pid` when empty.
    pub pid_file: Option<PathBuf>,
    /// `chroot`-like instead of pivot_root(2), for root filesystems on a ramdisk.
    pub no_pivot: bool,
    /// Keeps the session keyring of the caller.
    pub no_new_keyring: bool,
}

/// An additional process.
#[derive(Debug, Default)]
pub struct Exec {
    /// The directory that files of this call are written into, and removed from.
    pub scratch: PathBuf,
    /// The specification's `process`, as JSON.
    pub process: Vec<u8>,
    /// Its standard input and outputs.
    pub io: Io,
}

/// Where a process's standard input and outputs lead.
#[derive(Debug, Default)]
pub enum Io {
    /// Nowhere.
    #[default]
    Null,
    /// To these descriptors; what is absent leads nowhere.
    Fds {
        /// Read by the process.
        stdin: Option<OwnedFd>,
        /// Written by the process.
        stdout: Option<OwnedFd>,
        /// Written by the process.
        stderr: Option<OwnedFd>,
    },
    /// To a new pseudo-terminal, whose master comes back in [`Started::console`].
    Terminal,
}

/// A process that exists now.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub child: Child,
    /// The terminal's master side, close-on-exec, where one was asked for.
    pub console: Option<OwnedFd>,
}

/// What a runtime knows of a container (runtime.md, "State"); fields it did not tell are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct State {
    /// The container's id.
    pub id: String,
    /// `creating`, `created`, `running`, `paused` or `stopped`.
    pub status: String,
    /// The first process, 0 when there is none.
    pub pid: u32,
    /// The bundle.
    pub bundle: PathBuf,
}
