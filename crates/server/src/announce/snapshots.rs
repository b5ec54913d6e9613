//! A snapshotter that tells of snapshots that come and go.

use std::sync::Arc;

use wharf_api::containerd::events;
use wharf_events::Exchange;
use wharf_snapshot::{Base, Commit, Info, Result, Snapshotter, Usage};
use wharf_types::{Filters, LabelChange, Labels, Mount, Namespace};

use super::announce;

/// See the module.
pub(super) struct Announced {
    pub(super) inner: Arc<dyn Snapshotter>,
    pub(super) name: String,
    pub(super) namespace: Namespace,
    pub(super) exchange: Arc<dyn Exchange>,
}

impl Announced {
    fn prepared(&self, key: &str, parent: &str) {
        let (key, parent, snapshotter) = (key.to_owned(), parent.to_owned(), self.name.clone());
        let event = events::SnapshotPrepare { key, parent, snapshotter };
        announce(&*self.exchange, &self.namespace, "/snapshot/prepare", "containerd.events.SnapshotPrepare", &event);
    }
}

impl Snapshotter for Announced {
    fn stat(&self, name: &str) -> Result<Info> {
        self.inner.stat(name)
    }

    fn update(&self, name: &str, change: &LabelChange) -> Result<Info> {
        self.inner.update(name, change)
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        self.inner.usage(name)
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        self.inner.mounts(key)
    }

    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> Result<Vec<Mount>> {
        let mounts = self.inner.prepare(key, base, labels)?;
        self.prepared(key, if let Base::On(parent) = base { parent } else { "" });
        Ok(mounts)
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>> {
        let mounts = self.inner.view(key, parent, labels)?;
        self.prepared(key, parent.unwrap_or_default());
        Ok(mounts)
    }

    fn commit(&self, batch: &[Commit]) -> Result<()> {
        self.inner.commit(batch)?;
        for commit in batch {
            let (key, name, snapshotter) = (commit.key.clone(), commit.name.clone(), self.name.clone());
            let event = events::SnapshotCommit { key, name, snapshotter };
            announce(&*self.exchange, &self.namespace, "/snapshot/commit", "containerd.events.SnapshotCommit", &event);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.inner.remove(name)?;
        let event = events::SnapshotRemove { key: name.to_owned(), snapshotter: self.name.clone() };
        announce(&*self.exchange, &self.namespace, "/snapshot/remove", "containerd.events.SnapshotRemove", &event);
        Ok(())
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        self.inner.walk(filters, visit)
    }

    fn cleanup(&self) -> Result<()> {
        self.inner.cleanup()
    }

    fn stacks_later(&self) -> bool {
        self.inner.stacks_later()
    }
}
