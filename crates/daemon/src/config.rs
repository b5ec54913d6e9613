//! The configuration file: TOML, with containerd's names for what both have.

mod duration;
mod keys;
mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use duration::Duration;
pub use read::{DEFAULT_PATH, Error, Warning, read};
use serde::{Deserialize, Serialize};

/// All that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Of containerd's schema: 2 or 3, which are the same for what is used here.
    pub version: u32,
    /// What outlives a boot.
    pub root: PathBuf,
    /// What one boot needs.
    pub state: PathBuf,
    /// Clients' socket.
    pub grpc: Grpc,
    /// Shims' socket.
    pub ttrpc: Ttrpc,
    /// Logs.
    pub debug: Debug,
    /// Where the daemon's own resources are counted.
    pub cgroup: Cgroup,
    /// Registries.
    pub registry: Registry,
    /// Runtimes that are served by another's shim: by default what `ctr` and `dockerd` ask for is served by our own.
    pub runtimes: BTreeMap<String, String>,
    /// What waits how long.
    pub timeouts: Timeouts,
    /// What containerd configures by plugin.
    pub plugins: Plugins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 3,
            root: "/var/lib/wharf".into(),
            state: "/run/wharf".into(),
            grpc: Grpc::default(),
            ttrpc: Ttrpc::default(),
            debug: Debug::default(),
            cgroup: Cgroup::default(),
            registry: Registry::default(),
            runtimes: [("io.containerd.runc.v2".to_owned(), "io.containerd.wharf.v1".to_owned())].into(),
            timeouts: Timeouts::default(),
            plugins: Plugins::default(),
        }
    }
}

impl Config {
    /// The socket of shims.
    #[must_use]
    pub fn ttrpc_address(&self) -> PathBuf {
        if self.ttrpc.address.as_os_str().is_empty() {
            let mut address = self.grpc.address.clone().into_os_string();
            address.push(".ttrpc");
            return address.into();
        }
        self.ttrpc.address.clone()
    }
}

/// Clients' socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grpc {
    /// Its path.
    pub address: PathBuf,
    /// Its owner.
    pub uid: u32,
    /// Its group, which may connect too when it is not 0.
    pub gid: u32,
    /// The most bytes of one message, both ways; 0 for the default.
    pub max_recv_message_size: usize,
}

impl Default for Grpc {
    fn default() -> Self {
        Self { address: "/run/wharf/wharf.sock".into(), uid: 0, gid: 0, max_recv_message_size: 16 << 20 }
    }
}

/// Shims' socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ttrpc {
    /// Its path; empty for that of clients with `.ttrpc` after it.
    pub address: PathBuf,
    /// Its owner.
    pub uid: u32,
    /// Its group, which may connect too when it is not 0.
    pub gid: u32,
}

/// Logs, on standard error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Debug {
    /// From which level on.
    pub level: Level,
    /// In which form.
    pub format: Format,
}

/// From which level on lines are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything.
    Trace,
    /// What a developer wants to know.
    Debug,
    /// What happens.
    #[default]
    #[serde(alias = "")]
    Info,
    /// What should not happen.
    #[serde(alias = "warning")]
    Warn,
    /// What failed.
    Error,
    /// The same as `error`.
    Fatal,
    /// The same as `error`.
    Panic,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    #[serde(alias = "")]
    Text,
    /// For programs.
    Json,
}

/// Where the daemon's own resources are counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroup {
    /// The cgroup it joins at its start, below the root of every hierarchy; empty for the one it was started in.
    pub path: String,
}

/// Registries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Registries that are spoken to in plain HTTP, such as `registry.lan:5000`. Those on this machine always are.
    pub plain_http: Vec<String>,
}

/// What waits how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// How long calls that are under way may take when the daemon is told to stop.
    #[serde(rename = "io.wharf.timeout.drain")]
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { drain: Duration::from_millis(5000) }
    }
}

/// What containerd configures by plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugins {
    /// When unreferenced content and snapshots are removed.
    #[serde(rename = "io.containerd.gc.v1.scheduler")]
    pub gc: Gc,
}

/// When the collector runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gc {
    /// Which part of the time it may run, at most 0.5; 0 for no limit, so that it runs only when a threshold is met.
    pub pause_threshold: f64,
    /// It runs after so many deletions; 0 for no such threshold.
    pub deletion_threshold: u64,
    /// It runs after so many changes of the database; 0 for no such threshold.
    pub mutation_threshold: u64,
    /// How long it waits once a threshold is met.
    pub schedule_delay: Duration,
    /// How long it waits after the daemon's start.
    pub startup_delay: Duration,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            pause_threshold: 0.02,
            deletion_threshold: 0,
            mutation_threshold: 100,
            schedule_delay: Duration::from_millis(0),
            startup_delay: Duration::from_millis(100),
        }
    }
}
