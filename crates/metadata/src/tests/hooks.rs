//! Stores that call a function at each step that changes them.

use std::sync::Arc;

use wharf_content::{self as content, ContentStore, Ingest, Reader, Status, Writer};
use wharf_snapshot::{self as snapshot, Base, Snapshotter, Usage};
use wharf_types::{Digest, Filters, LabelChange, Labels, Mount};

/// Called with the step's name, before it and after it.
pub(super) type Hook = Arc<dyn Fn(&'static str) + Send + Sync>;

pub(super) struct Hooked<T: ?Sized>(pub(super) Arc<T>, pub(super) Hook);

struct HookedWriter(Box<dyn Writer>, Hook);

impl<T: ?Sized> Hooked<T> {
    fn step<R>(&self, before: &'static str, after: &'static str, act: impl FnOnce(&T) -> R) -> R {
        (self.1)(before);
        let result = act(&self.0);
        (self.1)(after);
        result
    }
}

impl ContentStore for Hooked<dyn ContentStore> {
    fn info(&self, digest: &Digest) -> content::Result<content::Info> {
        self.0.info(digest)
    }
    fn update(&self, digest: &Digest, change: &LabelChange) -> content::Result<content::Info> {
        self.0.update(digest, change)
    }
    fn walk(
        &self,
        filters: &Filters,
        visit: &mut dyn FnMut(content::Info) -> content::Result<()>,
    ) -> content::Result<()> {
        self.0.walk(filters, visit)
    }
    fn delete(&self, digest: &Digest) -> content::Result<()> {
        self.step("before delete", "after delete", |store| store.delete(digest))
    }
    fn reader(&self, digest: &Digest) -> content::Result<Box<dyn Reader>> {
        self.0.reader(digest)
    }
    fn writer(&self, ingest: &Ingest) -> content::Result<Box<dyn Writer>> {
        let writer = self.step("before writer", "after writer", |store| store.writer(ingest))?;
        Ok(Box::new(HookedWriter(writer, self.1.clone())))
    }
    fn status(&self, reference: &str) -> content::Result<Status> {
        self.0.status(reference)
    }
    fn statuses(&self, filters: &Filters) -> content::Result<Vec<Status>> {
        self.0.statuses(filters)
    }
    fn abort(&self, reference: &str) -> content::Result<()> {
        self.step("before abort", "after abort", |store| store.abort(reference))
    }
}

impl Writer for HookedWriter {
    fn write(&mut self, bytes: &[u8]) -> content::Result<()> {
        self.0.write(bytes)
    }
    fn status(&self) -> Status {
        self.0.status()
    }
    fn digest(&self) -> Digest {
        self.0.digest()
    }
    fn reader(&self) -> content::Result<Box<dyn Reader>> {
        self.0.reader()
    }
    fn truncate(&mut self) -> content::Result<()> {
        self.0.truncate()
    }
    fn commit(&mut self, commit: &content::Commit) -> content::Result<content::Info> {
        (self.1)("before blob");
        let result = self.0.commit(commit);
        (self.1)("after blob");
        result
    }
}

impl Snapshotter for Hooked<dyn Snapshotter> {
    fn stat(&self, name: &str) -> snapshot::Result<snapshot::Info> {
        self.0.stat(name)
    }
    fn update(&self, name: &str, change: &LabelChange) -> snapshot::Result<snapshot::Info> {
        self.0.update(name, change)
    }
    fn usage(&self, name: &str) -> snapshot::Result<Usage> {
        self.0.usage(name)
    }
    fn mounts(&self, key: &str) -> snapshot::Result<Vec<Mount>> {
        self.0.mounts(key)
    }
    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> snapshot::Result<Vec<Mount>> {
        self.step("before prepare", "after prepare", |store| store.prepare(key, base, labels))
    }
    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> snapshot::Result<Vec<Mount>> {
        self.step("before view", "after view", |store| store.view(key, parent, labels))
    }
    fn commit(&self, batch: &[snapshot::Commit]) -> snapshot::Result<()> {
        self.step("before commit", "after commit", |store| store.commit(batch))
    }
    fn remove(&self, name: &str) -> snapshot::Result<()> {
        self.step("before remove", "after remove", |store| store.remove(name))
    }
    fn walk(
        &self,
        filters: &Filters,
        visit: &mut dyn FnMut(snapshot::Info) -> snapshot::Result<()>,
    ) -> snapshot::Result<()> {
        self.0.walk(filters, visit)
    }
    fn cleanup(&self) -> snapshot::Result<()> {
        self.0.cleanup()
    }
    fn stacks_later(&self) -> bool {
        self.0.stacks_later()
    }
}
