//! The daemon's side of shims: starts them, finds them again, forwards what they report.
//!
//! A [`TaskManager`] promises that a task outlives the daemon, that after [`ShimManager::restore`] every task that the state
//! directory knows is either served again or reported as ended, that one bad shim delays no other, and that every call to
//! a shim has a deadline. It never looks into images, snapshots or records: whoever calls it brings the mounts and the spec.
//!
//! Where things are: `runtime` finds a shim's program and `program` runs it, told and answered by `bootstrap`; `bundle` is the
//! directory; `shim` is the connection, `watch` the process; `task` is one task, `manager` all of them; `create`, `delete`
//! and `restore` are what happens to them; `sandbox` is a shim before there is a task in it.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wharf_events::Hub;
//! use wharf_supervisor::{Config, CreateTask, ShimManager, TaskManager as _};
//!
//! # async fn run(spec: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! let (socket, events) = ("/run/wharf/wharf.sock", "/run/wharf/wharf.sock.ttrpc");
//! let config = Config::new("/run/wharf", "/var/lib/wharf", socket, events, vec!["/usr/local/bin".into()]);
//! let tasks = ShimManager::new(config, Arc::new(Hub::default()));
//! tasks.restore().await?;
//! let create = CreateTask { spec, runtime: "io.containerd.wharf.v1".into(), ..Default::default() };
//! let task = tasks.create(&"default".parse()?, &"web".parse()?, create).await?;
//! task.start("").await?;
//! let exit = task.wait("").await?;
//! # Ok(())
//! # }
//! ```

mod bootstrap;
mod bundle;
pub mod config;
mod convert;
mod create;
mod delete;
pub mod error;
mod logs;
mod manager;
mod program;
mod publish;
mod restore;
mod runtime;
mod sandbox;
mod shim;
mod task;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use wharf_types::{Any, Id, Mount, Namespace};

pub use config::{Config, DEFAULT_RUNTIME, Timeouts};
pub use error::{Error, Result};
pub use manager::ShimManager;
pub use sandbox::{CreateSandbox, SandboxController, ShimAddress};

/// Tasks: containers that have been created from a bundle, and live in a shim each.
#[async_trait]
pub trait TaskManager: Send + Sync {
    /// Makes the bundle, starts the shim and has it create the container; the user's process does not run yet.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` for an unknown runtime; the runtime's own words where it refuses.
    async fn create(&self, namespace: &Namespace, id: &Id, create: CreateTask) -> Result<Arc<dyn Task>>;

    /// The task of a container.
    ///
    /// # Errors
    /// `NotFound`.
    async fn get(&self, namespace: &Namespace, id: &str) -> Result<Arc<dyn Task>>;

    /// The tasks of a namespace, by id.
    async fn list(&self, namespace: &Namespace) -> Vec<Arc<dyn Task>>;

    /// Removes a task that has ended, its shim and its bundle.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` while it runs.
    async fn delete(&self, namespace: &Namespace, id: &str) -> Result<Exit>;

    /// What a runtime says of itself, as `containerd.types.RuntimeInfo`: its shim is run with `-info`, and
    /// given `options`.
    ///
    /// # Errors
    /// `NotFound` for an unknown runtime; the shim's own words where it refuses.
    async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<Any>;
}

/// One task. An empty `exec` names its first process, otherwise an additional one.
#[async_trait]
pub trait Task: Send + Sync {
    /// The container's id.
    fn id(&self) -> &Id;
    /// The namespace.
    fn namespace(&self) -> &Namespace;
    /// The pid of the first process.
    fn pid(&self) -> u32;
    /// Runs the user's process and returns its pid.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` when it runs already or has ended.
    async fn start(&self, exec: &str) -> Result<u32>;
    /// What a process is and does.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the shim does not answer.
    async fn state(&self, exec: &str) -> Result<State>;
    /// Sends a signal to a process, or to all of the container.
    ///
    /// # Errors
    /// `NotFound` when it has ended.
    async fn kill(&self, exec: &str, signal: u32, all: bool) -> Result<()>;
    /// Waits until a process has ended, as long as it takes; also across the shim's death.
    ///
    /// # Errors
    /// `NotFound`.
    async fn wait(&self, exec: &str) -> Result<Exit>;
    /// Adds a process, to be started later.
    ///
    /// # Errors
    /// `AlreadyExists`; `FailedPrecondition` when the container has ended.
    async fn exec(&self, exec: &str, process: Exec) -> Result<()>;
    /// Forgets an additional process that has ended.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` while it runs.
    async fn delete_exec(&self, exec: &str) -> Result<Exit>;
    /// Everything else that is asked of a running process.
    ///
    /// # Errors
    /// The shim's own.
    async fn control(&self, control: Control) -> Result<()>;
    /// The processes in the container; `info` is the runtime's own detail.
    ///
    /// # Errors
    /// `NotFound`.
    async fn pids(&self) -> Result<Vec<(u32, Option<Any>)>>;
    /// What the container uses, as `io.containerd.cgroups.v1.Metrics` or `…v2.Metrics`.
    ///
    /// # Errors
    /// `NotFound`.
    async fn metrics(&self) -> Result<Any>;
}

/// What a task is made from.
#[derive(Clone, Debug, Default)]
pub struct CreateTask {
    /// The OCI runtime specification; its JSON becomes the bundle's `config.json` untouched.
    pub spec: Vec<u8>,
    /// What the shim mounts as the root filesystem.
    pub rootfs: Vec<Mount>,
    /// Where stdio goes.
    pub io: Stdio,
    /// The runtime, such as `io.containerd.runc.v2`, or an absolute path of a shim.
    pub runtime: String,
    /// The runtime's own options (create's first, the container's where create has none).
    pub options: Option<Any>,
    /// A directory with a checkpoint to restore, or nothing.
    pub checkpoint: Option<PathBuf>,
    /// The sandbox whose shim it joins; empty for a shim of its own.
    pub sandbox: String,
    /// Where that sandbox's shim serves, for those who know; found by the sandbox's name otherwise.
    pub sandbox_address: String,
}

/// An additional process.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The OCI process, as it came.
    pub spec: Option<Any>,
    /// Where stdio goes.
    pub io: Stdio,
}

/// Where stdio goes: paths of fifos, or URIs; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Read by the process.
    pub stdin: String,
    /// Written by the process.
    pub stdout: String,
    /// Written by the process; empty with a terminal.
    pub stderr: String,
    /// A pseudo-terminal carries all.
    pub terminal: bool,
}

/// What is asked of a running process.
#[derive(Clone, Debug)]
pub enum Control {
    /// Freezes all processes of the container.
    Pause,
    /// Thaws them.
    Resume,
    /// Sets the size of a terminal, in characters.
    Resize {
        /// The process.
        exec: String,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Closes stdin once it is drained.
    CloseStdin {
        /// The process.
        exec: String,
    },
    /// Changes limits: `types.containerd.io/opencontainers/runtime-spec/1/LinuxResources`.
    Update {
        /// The resources.
        resources: Option<Any>,
        /// Annotations for the runtime.
        annotations: std::collections::BTreeMap<String, String>,
    },
    /// Writes a checkpoint into a directory.
    Checkpoint {
        /// The directory.
        path: PathBuf,
        /// The runtime's own options.
        options: Option<Any>,
    },
}

/// What a process is and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its pid, 0 when it never ran.
    pub pid: u32,
    /// Created, running, paused or stopped.
    pub status: Status,
    /// Where stdio goes.
    pub io: Stdio,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nobody knows: the shim does not answer.
    Unknown,
    /// It exists and the user's program does not run yet.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Stopped,
    /// It is frozen.
    Paused,
    /// It is being frozen.
    Pausing,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its pid.
    pub pid: u32,
    /// Its exit status; 128 and the signal where a signal ended it; 255 when nobody knows.
    pub status: u32,
    /// When.
    pub at: SystemTime,
}
