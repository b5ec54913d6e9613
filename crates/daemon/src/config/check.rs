//! What each key allows by itself may still make no sense together.

use std::path::Path;

use wharf_types::Platform;

use super::read::{Error, Warning};
use super::{Config, ProxyKind, files::Source, keys};

/// Plugins of ours that can be required or left out, by containerd's names.
const OURS: &[&str] = &[
    OVERLAYFS,
    NATIVE,
    "io.containerd.content.v1.content",
    SCHEDULER,
    "io.containerd.metadata.v1.bolt",
    "io.containerd.runtime.v2.task",
    "io.containerd.transfer.v1.local",
];

/// The snapshotter that is used where nobody says.
pub(crate) const OVERLAYFS: &str = "io.containerd.snapshotter.v1.overlayfs";

/// What runs the collector unasked.
pub(crate) const SCHEDULER: &str = "io.containerd.gc.v1.scheduler";

/// The snapshotter that copies.
pub(crate) const NATIVE: &str = "io.containerd.snapshotter.v1.native";

/// The smallest message that a socket must take: what a client sends in one piece otherwise is refused.
const SMALLEST: usize = 64 << 10;

/// A key of the configuration and what is wrong with it.
type Complaint<'a> = (&'a [&'a str], String);

/// Refuses what cannot be.
pub(super) fn check(config: &Config, sources: &[Source]) -> Result<(), Error> {
    let complain = |(key, reason): Complaint<'_>| Err(at(sources, key, reason));
    for (key, directory) in [("root", &config.root), ("state", &config.state)] {
        if !directory.is_absolute() {
            complain((&[key], format!("{key} {directory:?} is not an absolute path")))?;
        }
    }
    if config.root == config.state {
        complain((&["state"], format!("root and state are both {:?}: they must be two", config.root)))?;
    }
    if config.grpc.address == config.ttrpc_address() {
        let reason = format!("the sockets of clients and of shims are both {:?}", config.grpc.address);
        complain((&["ttrpc", "address"], reason))?;
    }
    let size = config.grpc.max_recv_message_size;
    if (1..SMALLEST).contains(&size) {
        let reason = format!("max_recv_message_size {size} is less than {SMALLEST} bytes, which clients need");
        complain((&["grpc", "max_recv_message_size"], reason))?;
    }
    let pause = config.plugins.gc.pause_threshold;
    if !(0.0..=0.5).contains(&pause) {
        let reason = format!("pause_threshold {pause} is out of bounds: 0 to 0.5 can be kept");
        complain((&["plugins", "io.containerd.gc.v1.scheduler", "pause_threshold"], reason))?;
    }
    plugins(config, sources)?;
    proxies(config, sources)?;
    unpack(config, sources)
}

fn plugins(config: &Config, sources: &[Source]) -> Result<(), Error> {
    let disabled = |name: &str| config.disabled_plugins.iter().any(|disabled| disabled == name);
    for required in &config.required_plugins {
        let key = &["required_plugins"];
        if disabled(required) {
            return Err(at(sources, key, format!("plugin {required} is required, and disabled too")));
        }
        let proxy = config.proxy_plugins.keys().any(|name| required.ends_with(&format!(".{name}")));
        if !OURS.contains(&required.as_str()) && !proxy {
            let reason = format!("plugin {required} is required, and there is none of that name here");
            return Err(at(sources, key, reason));
        }
    }
    Ok(())
}

fn proxies(config: &Config, sources: &[Source]) -> Result<(), Error> {
    for (name, plugin) in &config.proxy_plugins {
        let complain = |key: &str, reason: String| Err(at(sources, &["proxy_plugins", name, key], reason));
        if !plugin.address.is_absolute() {
            return complain("address", format!("the socket {:?} is not an absolute path", plugin.address));
        }
        if !plugin.namespace.is_empty()
            && let Err(error) = plugin.namespace.parse::<wharf_types::Namespace>()
        {
            return complain("namespace", error.to_string());
        }
        if plugin.kind == ProxyKind::Snapshot && config.own_snapshotters().any(|own| own == name) {
            let reason = format!("there is a snapshotter {name} here: choose another name, or disable that one");
            return complain("type", reason);
        }
    }
    Ok(())
}

fn unpack(config: &Config, sources: &[Source]) -> Result<(), Error> {
    let key = &["plugins", "io.containerd.transfer.v1.local", "unpack_config"];
    for entry in &config.plugins.transfer.unpack_config {
        if !entry.platform.is_empty()
            && let Err(error) = entry.platform.parse::<Platform>()
        {
            return Err(at(sources, key, error.to_string()));
        }
        let there = config.own_snapshotters().any(|own| own == entry.snapshotter)
            || config.proxy_plugins.get(&entry.snapshotter).is_some_and(|found| found.kind == ProxyKind::Snapshot);
        if !there && !entry.snapshotter.is_empty() {
            return Err(at(sources, key, format!("there is no snapshotter {:?}", entry.snapshotter)));
        }
    }
    Ok(())
}

/// What is understood, and not built or not used.
pub(super) fn unused(sources: &[Source], merged: &toml::Table, config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut say = |key: &[&str], minor: bool, reason: &str| {
        let (path, line) = place(sources, key);
        let (key, reason) = (key.join("."), reason.to_owned());
        warnings.push(Warning { path: path.to_owned(), line, key, reason, minor });
    };
    let text = |table: &str, key: &str| -> String {
        let found = merged.get(table).and_then(|table| table.get(key)).and_then(toml::Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    if !text("debug", "address").is_empty() {
        // dockerd always asks for one, and never uses it.
        say(&["debug", "address"], true, "is not built: nothing is served there");
    }
    if merged.get("oom_score").and_then(toml::Value::as_integer).unwrap_or_default() != 0 {
        // dockerd always sets it. A score of the daemon's own would be its shims' and containers' too.
        say(&["oom_score"], true, "is not built: the daemon keeps the score that it was started with");
    }
    if !text("metrics", "address").is_empty() {
        say(&["metrics", "address"], false, "is not built: nothing is served there");
    }
    if !text("grpc", "tcp_address").is_empty() {
        say(&["grpc", "tcp_address"], false, "is not built: clients are served at the unix socket alone");
    }
    if !config.registry.config_path.is_empty() {
        say(&["registry", "config_path"], false, "is not used yet");
    }
    for (name, plugin) in &config.proxy_plugins {
        let reason = match plugin.kind {
            ProxyKind::Snapshot => continue,
            ProxyKind::Content => "is not used: content is kept in the store of this daemon",
            ProxyKind::Diff => "is not used: layers are extracted by this daemon while they arrive",
            ProxyKind::Sandbox => "is not used: there are no foreign sandboxes here",
        };
        say(&["proxy_plugins", name], false, reason);
    }
    warnings
}

/// An error at the last file that has this key.
fn at(sources: &[Source], key: &[&str], reason: String) -> Error {
    let (path, line) = place(sources, key);
    Error::Parse { path: path.display().to_string(), line, reason }
}

/// The last file that has this key, and its line there.
fn place<'a>(sources: &'a [Source], key: &[&str]) -> (&'a Path, usize) {
    let found = sources.iter().rev().find_map(|source| Some((&*source.path, keys::line_of(&source.text, key)?)));
    let first = || (sources.first().map_or(Path::new(super::DEFAULT_PATH), |source| &*source.path), 1);
    found.unwrap_or_else(first)
}

impl Config {
    /// The snapshotters of this daemon's own that are not disabled, the default one first.
    pub(crate) fn own_snapshotters(&self) -> impl Iterator<Item = &'static str> {
        let enabled = |id: &str| !self.disabled_plugins.iter().any(|disabled| disabled == id);
        let own = [(OVERLAYFS, "overlayfs", enabled(OVERLAYFS)), (NATIVE, "native", enabled(NATIVE))];
        own.into_iter().filter(|(_, _, enabled)| *enabled).map(|(_, name, _)| name)
    }
}
