//! Writing an ingest of a namespace.

use wharf_content::{Commit, Error, Info, Ingest, Reader, Result, Status, Writer};
use wharf_types::Digest;
use wharf_types::digest::Algorithm;

use super::ContentView;
use super::errors::refer;
use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows as _};
use crate::{ObjectKind, codec};

/// The store's writer, with names and records of the namespace.
pub(super) struct ViewWriter {
    view: ContentView,
    behind: Box<dyn Writer>,
    reference: String,
    /// The digest that was expected at the beginning; the store may not have been told.
    expected: Option<Digest>,
}

impl ViewWriter {
    pub(super) fn new(view: ContentView, behind: Box<dyn Writer>, ingest: &Ingest, stored: &codec::Ingest) -> Self {
        let expected = ingest.expected.clone().or_else(|| stored.expected.parse().ok());
        Self { view, behind, reference: ingest.reference.clone(), expected }
    }

    fn read_again(&self, algorithm: Algorithm) -> Result<Digest> {
        let reader = self.behind.reader()?;
        let (mut hasher, mut offset, mut piece) = (algorithm.hasher(), 0, vec![0; 1 << 16]);
        loop {
            let read = reader.read_at(&mut piece, offset)?;
            let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { return Ok(hasher.finish()) };
            hasher.update(piece);
            offset += read as u64;
        }
    }

    fn refer<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| refer(error, &self.reference))
    }

    /// Records the blob that the store has now; the ingest is one no more.
    fn record(&self, digest: &Digest, size: u64, labels: wharf_types::Labels) -> Result<Info> {
        let (view, text) = (&self.view, digest.to_string());
        let recorded = view.db.inner.write(|rows| {
            view.forget(rows, &self.reference)?;
            let here = rows.has(Row::new(RowKind::Blob, &[view.ns.as_str(), &text]))?;
            let now = Some(rows.now.into());
            let blob = codec::Blob { size, created: now, updated: now, labels };
            if here {
                rows.touch(view.object(ObjectKind::Content, &text));
            } else {
                view.record(rows, &text, &blob)?;
            }
            view.hold(rows, ObjectKind::Content, &text)?;
            Ok::<_, Error>((!here).then_some(blob))
        });
        if recorded.is_err() {
            view.db.inner.suspect_blob(digest);
        }
        let blob = recorded?.ok_or_else(|| Error::AlreadyExists(digest.clone()))?;
        Ok(view.read(digest, blob))
    }
}

impl Writer for ViewWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.behind.write(bytes);
        self.refer(written)
    }

    fn status(&self) -> Status {
        let status = self.behind.status();
        let expected = status.expected.clone().or_else(|| self.expected.clone());
        Status { reference: self.reference.clone(), expected, ..status }
    }

    fn digest(&self) -> Digest {
        let computed = self.behind.digest();
        match &self.expected {
            // The store was not told of the other algorithm; that happens rarely enough to read all again.
            Some(expected) if expected.algorithm() != computed.algorithm() => {
                self.read_again(expected.algorithm()).unwrap_or(computed)
            }
            _ => computed,
        }
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        self.refer(self.behind.reader())
    }

    fn truncate(&mut self) -> Result<()> {
        let truncated = self.behind.truncate();
        self.refer(truncated)
    }

    fn commit(&mut self, commit: &Commit) -> Result<Info> {
        let expected = commit.expected.clone().or_else(|| self.expected.clone());
        let digest = expected.clone().unwrap_or_else(|| self.behind.digest());
        let labels = checked("content", &digest.to_string(), commit.labels.clone())?;
        let size = self.behind.status().offset;
        // From here until its record is written the blob is relied upon.
        let db = self.view.db.clone();
        let _pin = db.inner.pins.pin(&digest);
        // Labels are the namespace's; the store keeps none.
        let behind = Commit { size: commit.size, expected, labels: wharf_types::Labels::new() };
        match self.behind.commit(&behind) {
            // That the store has it is not that the namespace has it: its bytes were shown.
            Ok(_) | Err(Error::AlreadyExists(_)) => self.record(&digest, size, labels),
            Err(error) => Err(refer(error, &self.reference)),
        }
    }
}
