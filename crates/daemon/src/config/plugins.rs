//! What containerd configures by plugin, and what other programs serve.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::SCHEDULER;
use super::{Config, Duration};

/// What containerd configures by plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plugins {
    /// When unreferenced content and snapshots are removed.
    #[serde(rename = "io.containerd.gc.v1.scheduler")]
    pub gc: Gc,
    /// How images are unpacked.
    #[serde(rename = "io.containerd.transfer.v1.local")]
    pub transfer: Transfer,
    /// Containers that are started again.
    #[serde(rename = "io.containerd.monitor.container.v1.restart")]
    pub restart: Restart,
}

/// When containers that ask for it are started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restart {
    /// How often they are looked at; 0 for the default.
    pub interval: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self { interval: Duration::from_millis(10_000) }
    }
}

/// How images are unpacked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transfer {
    /// The first that names a snapshotter and this machine's platform, or none, says which one is used where nobody says.
    pub unpack_config: Vec<Unpack>,
}

/// Where images of a platform are unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unpack {
    /// `linux/amd64`; empty for any.
    pub platform: String,
    /// The snapshotter.
    pub snapshotter: String,
}

/// A store that another program serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyPlugin {
    /// Which.
    #[serde(rename = "type")]
    pub kind: ProxyKind,
    /// The unix socket that it is served at.
    pub address: PathBuf,
    /// The namespace that it is asked in; empty for none. Only a plugin that is a whole containerd needs one.
    #[serde(default)]
    pub namespace: String,
    /// Of the plugin; not looked at.
    #[serde(default)]
    pub platform: String,
    /// Of the plugin; not looked at.
    #[serde(default)]
    pub exports: BTreeMap<String, String>,
    /// What it can do; not looked at.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// What a program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyKind {
    /// Snapshots.
    Snapshot,
    /// Content. Not used: an ingest that is gone on with is read, which the API cannot say.
    Content,
    /// Layers to files. Not used: layers are extracted while they arrive, which the API cannot say.
    Diff,
    /// Sandboxes. Not used.
    Sandbox,
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

impl Config {
    /// When the collector runs; where it is disabled, only when a client asks.
    pub(crate) fn gc(&self) -> Gc {
        if !self.disabled_plugins.iter().any(|disabled| disabled == SCHEDULER) {
            return self.plugins.gc.clone();
        }
        let never = Duration::from_millis(0);
        Gc {
            pause_threshold: 0.0,
            deletion_threshold: 0,
            mutation_threshold: 0,
            schedule_delay: never,
            startup_delay: never,
        }
    }
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
