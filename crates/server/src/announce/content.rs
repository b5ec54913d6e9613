//! A content store that tells of blobs that come and go.

use std::sync::Arc;

use wharf_api::containerd::events;
use wharf_content::{Commit, ContentStore, Info, Ingest, Reader, Result, Status, Writer};
use wharf_events::Exchange;
use wharf_types::{Digest, Filters, LabelChange, Namespace};

use super::announce;
use crate::convert::signed;

/// See the module.
pub(super) struct Announced {
    pub(super) inner: Arc<dyn ContentStore>,
    pub(super) namespace: Namespace,
    pub(super) exchange: Arc<dyn Exchange>,
}

impl ContentStore for Announced {
    fn info(&self, digest: &Digest) -> Result<Info> {
        self.inner.info(digest)
    }

    fn update(&self, digest: &Digest, change: &LabelChange) -> Result<Info> {
        self.inner.update(digest, change)
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        self.inner.walk(filters, visit)
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        self.inner.delete(digest)?;
        let event = events::ContentDelete { digest: digest.to_string() };
        announce(&*self.exchange, &self.namespace, "/content/delete", "containerd.events.ContentDelete", &event);
        Ok(())
    }

    fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        self.inner.reader(digest)
    }

    fn writer(&self, ingest: &Ingest) -> Result<Box<dyn Writer>> {
        let inner = self.inner.writer(ingest)?;
        Ok(Box::new(AnnouncedWriter { inner, namespace: self.namespace.clone(), exchange: self.exchange.clone() }))
    }

    fn status(&self, reference: &str) -> Result<Status> {
        self.inner.status(reference)
    }

    fn statuses(&self, filters: &Filters) -> Result<Vec<Status>> {
        self.inner.statuses(filters)
    }

    fn abort(&self, reference: &str) -> Result<()> {
        self.inner.abort(reference)
    }
}

/// A writer that tells of its commit.
struct AnnouncedWriter {
    inner: Box<dyn Writer>,
    namespace: Namespace,
    exchange: Arc<dyn Exchange>,
}

impl Writer for AnnouncedWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write(bytes)
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        self.inner.reader()
    }

    fn truncate(&mut self) -> Result<()> {
        self.inner.truncate()
    }

    fn commit(&mut self, commit: &Commit) -> Result<Info> {
        let info = self.inner.commit(commit)?;
        let event = events::ContentCreate {
            digest: info.digest.to_string(),
            size: signed(info.size),
            ..events::ContentCreate::default()
        };
        announce(&*self.exchange, &self.namespace, "/content/create", "containerd.events.ContentCreate", &event);
        Ok(info)
    }
}
