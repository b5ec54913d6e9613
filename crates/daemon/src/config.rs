//! The configuration file: TOML, with containerd's names for what both have.

pub(crate) mod check;
mod duration;
mod files;
mod keys;
mod lift;
mod plugins;
mod read;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use duration::Duration;
pub use files::DEFAULT_PATH;
pub use plugins::{Gc, Plugins, ProxyKind, ProxyPlugin, Restart, Transfer, Unpack};
pub use read::{Error, Warning, read};
use serde::{Deserialize, Serialize};

/// All that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Of containerd's schema: 2, 3 or 4. What is written is of 3.
    pub version: u32,
    /// More files, by patterns; a path that is not absolute begins where the file is that names it.
    pub imports: Vec<String>,
    /// Parts of the daemon that must be there, by containerd's names.
    pub required_plugins: Vec<String>,
    /// Parts of the daemon that are left out, by containerd's names.
    pub disabled_plugins: Vec<String>,
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
    /// Stores that other programs serve, by the names that they have here.
    pub proxy_plugins: BTreeMap<String, ProxyPlugin>,
    /// What containerd configures by plugin.
    pub plugins: Plugins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 3,
            imports: Vec::new(),
            required_plugins: Vec::new(),
            disabled_plugins: Vec::new(),
            root: "/var/lib/wharf".into(),
            state: "/run/wharf".into(),
            grpc: Grpc::default(),
            ttrpc: Ttrpc::default(),
            debug: Debug::default(),
            cgroup: Cgroup::default(),
            registry: Registry::default(),
            runtimes: [("io.containerd.runc.v2".to_owned(), "io.containerd.wharf.v1".to_owned())].into(),
            timeouts: Timeouts::default(),
            proxy_plugins: BTreeMap::new(),
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
    /// Directories with a `hosts.toml` for each registry, with colons between them. Not used yet.
    pub config_path: String,
}

/// What waits how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// How long calls that are under way may take when the daemon is told to stop.
    #[serde(rename = "io.wharf.timeout.drain")]
    pub drain: Duration,
    /// How long a call on a proxy plugin may take.
    #[serde(rename = "io.wharf.timeout.plugin")]
    pub plugin: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { drain: Duration::from_millis(5000), plugin: Duration::from_millis(60_000) }
    }
}
