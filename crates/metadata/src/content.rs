//! A namespace's view of the content store.
//!
//! The store behind has each blob once; who may see it, under which labels, is a record. Bytes come before the record that
//! names them, and go after it:
//!
//! - a commit pins the digest, has the store commit, then writes the record; a crash between leaves a blob without record,
//!   which the next collection removes unless somebody writes or expects it first;
//! - a removal deletes the record, then the bytes, unless another namespace has a record or somebody has the digest pinned.
//!
//! An ingest's record comes first, with a name in the store that none had before: an ingest in the store without a record is
//! nobody's, now and later.

mod errors;
mod writer;

use std::time::Duration;

use wharf_content::{ContentStore, Error, Info, Ingest, Reader, Result, Status, Writer};
use wharf_types::{Digest, ErrorKind, Filters, Kind as _, LabelChange, Namespace};

use self::errors::{refer, unreadable};
use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows as _, Writing, decode};
use crate::{Database, Object, ObjectKind, Sharing, codec, leases};

/// How long an ingest that no lease holds is kept (containerd: `core/metadata/content.go`).
const INGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How much of its life an ingest has lost before going on with it is written down.
const RENEWAL: Duration = Duration::from_secs(3600);

/// The store as one namespace sees it.
#[derive(Clone)]
pub(crate) struct ContentView {
    db: Database,
    ns: Namespace,
    lease: Option<String>,
}

impl ContentView {
    pub(crate) fn new(db: Database, ns: &Namespace, lease: Option<&str>) -> Self {
        Self { db, ns: ns.clone(), lease: lease.map(str::to_owned) }
    }

    fn object(&self, kind: ObjectKind, name: &str) -> Object {
        Object { namespace: self.ns.clone(), kind, name: name.to_owned() }
    }

    /// Has the view's lease hold an object.
    fn hold(&self, rows: &mut Writing<'_>, kind: ObjectKind, name: &str) -> Result<()> {
        match &self.lease {
            Some(lease) => Ok(leases::hold(rows, lease, &self.object(kind, name))?),
            None => Ok(()),
        }
    }

    /// Records a blob that the store has and this namespace has not.
    fn record(&self, rows: &mut Writing<'_>, digest: &str, blob: &codec::Blob) -> Result<()> {
        rows.ensure_namespace(&self.ns)?;
        rows.put(Row::new(RowKind::Blob, &[self.ns.as_str(), digest]), blob)?;
        Ok(rows.put_empty(Row::new(RowKind::Owner, &[digest, self.ns.as_str()]))?)
    }

    /// True when the blob is in this namespace, or was in the store and is now here too. It is held by the lease then.
    fn take(&self, digest: &Digest) -> Result<bool> {
        let text = digest.to_string();
        let row = Row::new(RowKind::Blob, &[self.ns.as_str(), &text]);
        let _pin = self.db.inner.pins.pin(digest);
        if self.db.inner.read()?.has(row)? {
            // Whoever is told that it is there relies on it: it is touched, and held, if it is there still.
            return self.db.inner.write(|rows| {
                let here = rows.has(row)?;
                if here {
                    rows.touch(self.object(ObjectKind::Content, &text));
                    self.hold(rows, ObjectKind::Content, &text)?;
                }
                Ok(here)
            });
        }
        if self.db.inner.options.sharing == Sharing::Isolated {
            return Ok(false);
        }
        let size = match self.db.inner.content.info(digest) {
            Ok(found) => found.size,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        self.db.inner.write(|rows| {
            if !rows.has(row)? {
                let now = Some(rows.now.into());
                self.record(rows, &text, &codec::Blob { size, created: now, updated: now, ..codec::Blob::default() })?;
            }
            self.hold(rows, ObjectKind::Content, &text)?;
            Ok(true)
        })
    }

    /// The record of an ingest of this namespace, which is there then.
    fn begin(&self, ingest: &Ingest) -> Result<codec::Ingest> {
        let reference = &ingest.reference;
        if reference.is_empty() {
            return Err(Error::Invalid("an ingest needs a reference".to_owned()));
        }
        let number = self.db.inner.number()?;
        let expected = ingest.expected.as_ref().map(Digest::to_string);
        self.db.inner.write(|rows| {
            let row = Row::new(RowKind::Ingest, &[self.ns.as_str(), reference]);
            let found: Option<codec::Ingest> = rows.find(row)?;
            let mut stored = found.clone().unwrap_or_else(|| codec::Ingest {
                backend: format!("{}/{number}/{reference}", self.ns),
                ..codec::Ingest::default()
            });
            stored.expected = expected.unwrap_or(stored.expected);
            // One that somebody goes on with lives on, written down once an hour; one that is leased lives with its lease.
            let left = stored.expires.and_then(|end| codec::time(Some(end)).duration_since(rows.now).ok());
            if self.lease.is_some() {
                stored.expires = None;
            } else if left.is_none_or(|left| left + RENEWAL < INGEST_LIFE) {
                stored.expires = rows.now.checked_add(INGEST_LIFE).map(Into::into);
            }
            if found.as_ref() == Some(&stored) {
                rows.touch(self.object(ObjectKind::Ingest, reference));
            } else {
                rows.ensure_namespace(&self.ns)?;
                rows.put(row, &stored)?;
            }
            self.hold(rows, ObjectKind::Ingest, reference)?;
            Ok(stored)
        })
    }

    /// The record of an ingest that was begun.
    fn begun(&self, reference: &str) -> Result<codec::Ingest> {
        let row = Row::new(RowKind::Ingest, &[self.ns.as_str(), reference]);
        let found: Option<codec::Ingest> = self.db.inner.read()?.find(row)?;
        found.ok_or_else(|| Error::NoIngest(reference.to_owned()))
    }

    /// Removes what is known of an ingest, and that the lease holds it.
    fn forget(&self, rows: &mut Writing<'_>, reference: &str) -> Result<()> {
        rows.delete(Row::new(RowKind::Ingest, &[self.ns.as_str(), reference]))?;
        if let Some(lease) = &self.lease {
            leases::release(rows, lease, &self.object(ObjectKind::Ingest, reference))?;
        }
        Ok(())
    }

    /// True when the store has what is expected, and may not say so.
    fn must_show(&self, ingest: &Ingest) -> Result<bool> {
        let Some(expected) = &ingest.expected else { return Ok(false) };
        if self.db.inner.options.sharing == Sharing::Shared {
            return Ok(false);
        }
        match self.db.inner.content.info(expected) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&self, digest: &Digest, stored: codec::Blob) -> Info {
        Info {
            digest: digest.clone(),
            size: stored.size,
            created_at: codec::time(stored.created),
            updated_at: codec::time(stored.updated),
            labels: stored.labels,
        }
    }
}

impl ContentStore for ContentView {
    fn info(&self, digest: &Digest) -> Result<Info> {
        let text = digest.to_string();
        let found = self.db.inner.read()?.find(Row::new(RowKind::Blob, &[self.ns.as_str(), &text]))?;
        found.map(|found| self.read(digest, found)).ok_or_else(|| Error::NotFound(digest.clone()))
    }

    fn update(&self, digest: &Digest, change: &LabelChange) -> Result<Info> {
        let text = digest.to_string();
        let row = Row::new(RowKind::Blob, &[self.ns.as_str(), &text]);
        self.db.inner.write(|rows| {
            let mut found: codec::Blob = rows.find(row)?.ok_or_else(|| Error::NotFound(digest.clone()))?;
            change.apply(&mut found.labels);
            found.labels = checked("content", &text, found.labels)?;
            found.updated = Some(rows.now.into());
            rows.put(row, &found)?;
            Ok(self.read(digest, found))
        })
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        let rows = self.db.inner.read()?;
        let mut refused = None;
        rows.scan(RowKind::Blob, &[self.ns.as_str()], &mut |row, bytes| {
            let [_, digest, ..] = row.1;
            let digest = digest.parse().map_err(|_| unreadable(rows.file(), digest))?;
            let info = self.read(&digest, decode(rows.file(), row, bytes)?);
            if filters.matches(&info) {
                refused = visit(info).err();
            }
            Ok(refused.is_none())
        })?;
        refused.map_or(Ok(()), Err)
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        let text = digest.to_string();
        self.db.inner.write(|rows| {
            if !rows.delete(Row::new(RowKind::Blob, &[self.ns.as_str(), &text]))? {
                return Err(Error::NotFound(digest.clone()));
            }
            Ok(rows.delete(Row::new(RowKind::Owner, &[&text, self.ns.as_str()]))?)
        })?;
        self.db.inner.drop_blob(digest);
        Ok(())
    }

    fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        self.info(digest)?;
        self.db.inner.content.reader(digest)
    }

    fn writer(&self, ingest: &Ingest) -> Result<Box<dyn Writer>> {
        let mut begun = false;
        loop {
            if let Some(expected) = &ingest.expected
                && self.take(expected)?
            {
                if begun {
                    self.db.inner.write(|rows| self.forget(rows, &ingest.reference))?;
                }
                return Err(Error::AlreadyExists(expected.clone()));
            }
            let stored = self.begin(ingest)?;
            begun = true;
            let mut behind = Ingest { reference: stored.backend.clone(), ..ingest.clone() };
            if self.must_show(ingest)? {
                // The store must not answer that it has the bytes. The commit compares them.
                behind.expected = None;
            }
            match self.db.inner.content.writer(&behind) {
                Ok(writer) => return Ok(Box::new(writer::ViewWriter::new(self.clone(), writer, ingest, &stored))),
                // Somebody committed it since it was looked for.
                Err(Error::AlreadyExists(_)) if behind.expected.is_some() => {}
                Err(error) => return Err(refer(error, &ingest.reference)),
            }
        }
    }

    fn status(&self, reference: &str) -> Result<Status> {
        let stored = self.begun(reference)?;
        let status = self.db.inner.content.status(&stored.backend);
        Ok(as_begun(status.map_err(|error| refer(error, reference))?, reference, &stored))
    }

    fn statuses(&self, filters: &Filters) -> Result<Vec<Status>> {
        let rows = self.db.inner.read()?;
        let mut begun = Vec::new();
        rows.scan(RowKind::Ingest, &[self.ns.as_str()], &mut |row, bytes| {
            let [_, reference, ..] = row.1;
            begun.push((reference.to_owned(), decode::<codec::Ingest>(rows.file(), row, bytes)?));
            Ok(true)
        })?;
        let mut all = Vec::new();
        for (reference, stored) in begun {
            match self.db.inner.content.status(&stored.backend) {
                Ok(status) => {
                    let status = as_begun(status, &reference, &stored);
                    all.extend(Some(status).filter(|status| filters.matches(status)));
                }
                // One that was committed or given up since is no ingest, nor is one that was about to begin.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(refer(error, &reference)),
            }
        }
        Ok(all)
    }

    fn abort(&self, reference: &str) -> Result<()> {
        let backend = self.begun(reference)?.backend;
        self.db.inner.write(|rows| self.forget(rows, reference))?;
        self.db.inner.content.abort(&backend).map_err(|error| refer(error, reference))
    }
}

/// A status in the namespace's own words. The store may not have been told what is expected.
fn as_begun(status: Status, reference: &str, stored: &codec::Ingest) -> Status {
    let expected = status.expected.or_else(|| stored.expected.parse().ok());
    Status { reference: reference.to_owned(), expected, ..status }
}
