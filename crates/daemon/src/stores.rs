//! Opens what is on disk, and shows it to the services.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::runtime::Handle;
use wharf_content::{ContentStore, LocalStore};
use wharf_metadata::Database;
use wharf_proxy::{Plugin, ProxySnapshotter};
use wharf_server::Stores;
use wharf_snapshot::Snapshotter;
use wharf_snapshot::native::NativeSnapshotter;
use wharf_snapshot::overlay::OverlaySnapshotter;
use wharf_types::{Namespace, Platform};

use crate::collector::Collector;
use crate::config::check::{NATIVE, OVERLAYFS};
use crate::config::{Config, ProxyKind, ProxyPlugin, Unpack};
use crate::directories::Directories;

/// What is on disk.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// The names of the snapshotters, the default one first.
    pub(crate) snapshotters: Vec<String>,
}

impl Opened {
    /// Opens the stores, then the database over them. Blocks.
    /// Must be called in a runtime: calls on what other programs serve are made there.
    pub(crate) fn open(config: &Config, directories: &Directories) -> Result<Self> {
        let content = LocalStore::open(directories.part("io.containerd.content.v1.content")?)
            .context("open the content store")?;
        let own = own_snapshotters(config, directories)?;
        let foreign = foreign_snapshotters(config);
        let names = in_order(config, own.iter().chain(&foreign).map(|(name, _)| name.clone()).collect());
        if names.is_empty() {
            bail!("open the snapshotters: the configuration disables all of them");
        }
        let file = directories.part("io.containerd.metadata.v1.redb")?.join("meta.db");
        let content: Arc<dyn ContentStore> = Arc::new(content);
        if !file.exists() {
            // It is begun if the stores are empty. What another program serves may be away, and what it holds is its own.
            let begun = Database::open(&file, content.clone(), own.iter().cloned().collect());
            drop(begun.context("open the database")?);
        }
        let database = Database::open(file, content, own.into_iter().chain(foreign).collect());
        Ok(Self { database: database.context("open the database")?, snapshotters: names })
    }
}

/// Snapshotters by name.
type Snapshotters = Vec<(String, Arc<dyn Snapshotter>)>;

/// Opens the snapshotters that lie below the root and are not disabled, the one that is used by default first.
fn own_snapshotters(config: &Config, directories: &Directories) -> Result<Snapshotters> {
    let mut opened: Snapshotters = Vec::new();
    for name in config.own_snapshotters() {
        match name {
            "overlayfs" => match OverlaySnapshotter::open(directories.part(OVERLAYFS)?) {
                Ok(overlay) => opened.push((name.to_owned(), Arc::new(overlay))),
                // Copies serve in its place: slower, but everywhere.
                Err(error)
                    if unfit(&error) && !config.required_plugins.iter().any(|required| required == OVERLAYFS) =>
                {
                    tracing::warn!(%error, "no overlayfs here; images are copied instead");
                }
                Err(error) => return Err(error).context("open the snapshotter overlayfs"),
            },
            _ => {
                let native = NativeSnapshotter::open(directories.part(NATIVE)?);
                opened.push((name.to_owned(), Arc::new(native.context("open the snapshotter native")?)));
            }
        }
    }
    Ok(opened)
}

/// The snapshotters that other programs serve. Nothing is asked of them yet.
fn foreign_snapshotters(config: &Config) -> Snapshotters {
    let foreign = config.proxy_plugins.iter().filter(|(_, plugin)| plugin.kind == ProxyKind::Snapshot);
    let proxy = |(name, plugin): (&String, &ProxyPlugin)| {
        let mut connection = Plugin::new(name, &plugin.address, &Handle::current());
        let deadline = config.timeouts.plugin.get();
        if !deadline.is_zero() {
            connection = connection.deadline(deadline);
        }
        if let Ok(namespace) = plugin.namespace.parse() {
            connection = connection.in_namespace(&namespace);
        }
        let snapshotter: Arc<dyn Snapshotter> = Arc::new(ProxySnapshotter::new(connection));
        (name.clone(), snapshotter)
    };
    foreign.map(proxy).collect()
}

/// The names, that of the default snapshotter first: the one that the configuration names for this machine's images.
fn in_order(config: &Config, mut names: Vec<String>) -> Vec<String> {
    let here = Platform::host();
    let fits = |entry: &&Unpack| {
        let any = entry.platform.is_empty() || entry.platform.parse::<Platform>().is_ok_and(|wanted| wanted == here);
        any && names.contains(&entry.snapshotter)
    };
    let wanted = config.plugins.transfer.unpack_config.iter().find(fits);
    if let Some(at) = wanted.and_then(|wanted| names.iter().position(|name| *name == wanted.snapshotter)) {
        let first = names.remove(at);
        names.insert(0, first);
    }
    names
}

/// True when the filesystem cannot hold overlays; anything else is a failure that must not be passed over.
fn unfit(error: &wharf_snapshot::Error) -> bool {
    use wharf_types::{ErrorKind, Kind};
    matches!(error.kind(), ErrorKind::FailedPrecondition | ErrorKind::InvalidArgument)
}

/// The stores as namespaces see them.
pub(crate) struct Views {
    pub(crate) database: Database,
    pub(crate) collector: Arc<Collector>,
}

impl Stores for Views {
    fn content(&self, namespace: &Namespace, lease: Option<&str>) -> wharf_metadata::Result<Arc<dyn ContentStore>> {
        Ok(self.database.content(namespace, lease))
    }

    fn snapshotter(
        &self,
        namespace: &Namespace,
        name: &str,
        lease: Option<&str>,
    ) -> wharf_metadata::Result<Arc<dyn Snapshotter>> {
        self.database.snapshotter(namespace, name, lease)
    }

    fn collect(&self) -> wharf_metadata::Result<()> {
        self.collector.collect()
    }
}
