//! Where things are, and how long they may take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The runtime that is taken where none is named: our own shim.
pub const DEFAULT_RUNTIME: &str = "io.containerd.wharf.v1";

/// What a [`crate::ShimManager`] needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state directory, such as `/run/wharf`: what one boot needs.
    pub state: PathBuf,
    /// The root directory, such as `/var/lib/wharf`: what outlives it.
    pub root: PathBuf,
    /// The path of the daemon's gRPC socket.
    pub address: String,
    /// The path of the socket that shims send their events to.
    pub ttrpc_address: String,
    /// Where shims are looked for before PATH: the daemon's own directory.
    pub shim_dirs: Vec<PathBuf>,
    /// Runtimes that are served by another's shim. By default `io.containerd.runc.v2`, which `ctr` and `dockerd` ask for
    /// unless told otherwise, is served by [`DEFAULT_RUNTIME`]; take the entry away to have containerd's own shim run it.
    pub runtimes: BTreeMap<String, String>,
    /// Shims are told to log more.
    pub debug: bool,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Config {
    /// A configuration with the default runtimes and times.
    pub fn new(
        state: impl Into<PathBuf>,
        root: impl Into<PathBuf>,
        address: impl Into<String>,
        ttrpc_address: impl Into<String>,
        shim_dirs: Vec<PathBuf>,
    ) -> Self {
        Self {
            state: state.into(),
            root: root.into(),
            address: address.into(),
            ttrpc_address: ttrpc_address.into(),
            shim_dirs,
            runtimes: BTreeMap::from([("io.containerd.runc.v2".to_owned(), DEFAULT_RUNTIME.to_owned())]),
            debug: false,
            timeouts: Timeouts::default(),
        }
    }
}

/// How long things may take before they count as failed.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// A shim's `start`: 30 s.
    pub start: Duration,
    /// Connecting to a shim and hearing from it: 5 s.
    pub attach: Duration,
    /// Calls that only ask or signal: 10 s.
    pub quick: Duration,
    /// Calls that run a runtime: create, start, exec, delete, update: 120 s. A checkpoint may take fifteen times that.
    pub slow: Duration,
    /// A shim's `delete`, after its server has died: 10 s.
    pub cleanup: Duration,
    /// A shim that has nothing left to do, to end: 3 s.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            start: seconds(30),
            attach: seconds(5),
            quick: seconds(10),
            slow: seconds(120),
            cleanup: seconds(10),
            shutdown: seconds(3),
        }
    }
}
