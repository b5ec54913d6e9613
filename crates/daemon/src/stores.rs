//! Opens what is on disk, and shows it to the services.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use wharf_content::{ContentStore, LocalStore};
use wharf_metadata::Database;
use wharf_server::Stores;
use wharf_snapshot::Snapshotter;
use wharf_snapshot::native::NativeSnapshotter;
use wharf_snapshot::overlay::OverlaySnapshotter;
use wharf_types::Namespace;

use crate::collector::Collector;
use crate::directories::Directories;

/// What is on disk.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// The names of the snapshotters, the default one first.
    pub(crate) snapshotters: Vec<String>,
}

impl Opened {
    /// Opens the stores, then the database over them. Blocks.
    pub(crate) fn open(directories: &Directories) -> Result<Self> {
        let content = LocalStore::open(directories.part("io.containerd.content.v1.content")?)
            .context("open the content store")?;
        let mut snapshotters: Vec<(String, Arc<dyn Snapshotter>)> = Vec::new();
        let root = directories.part("io.containerd.snapshotter.v1.overlayfs")?;
        match OverlaySnapshotter::open(root) {
            Ok(overlay) => snapshotters.push(("overlayfs".to_owned(), Arc::new(overlay))),
            // Copies serve in its place: slower, but everywhere.
            Err(error) if unfit(&error) => tracing::warn!(%error, "no overlayfs here; images are copied instead"),
            Err(error) => return Err(error).context("open the snapshotter overlayfs"),
        }
        let root = directories.part("io.containerd.snapshotter.v1.native")?;
        let native = NativeSnapshotter::open(root).context("open the snapshotter native")?;
        snapshotters.push(("native".to_owned(), Arc::new(native)));
        let names = snapshotters.iter().map(|(name, _)| name.clone()).collect();
        let file = directories.part("io.containerd.metadata.v1.redb")?.join("meta.db");
        let database = Database::open(file, Arc::new(content), BTreeMap::from_iter(snapshotters));
        Ok(Self { database: database.context("open the database")?, snapshotters: names })
    }
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
