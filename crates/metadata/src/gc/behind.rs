//! The stores behind: what has no record goes.

use std::collections::{BTreeMap, HashSet};

use wharf_content::Error as ContentError;
use wharf_snapshot::{Kind, Snapshotter};
use wharf_types::{Digest, ErrorKind, Filters, Kind as _, Namespace};

use super::Collected;
use crate::database::{Inner, held};
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Error, Object, ObjectKind, Result, codec, snapshots};

/// The namespace and the name within a name of ours: `<namespace>/<number>/<name>`.
fn parse(behind: &str) -> Option<(Namespace, &str)> {
    let (namespace, rest) = behind.split_once('/')?;
    let (number, name) = rest.split_once('/')?;
    number.parse::<u64>().ok()?;
    Some((namespace.parse().ok()?, name))
}

impl Inner {
    /// Has the next collection look at a blob.
    pub(crate) fn suspect_blob(&self, digest: &Digest) {
        held(&self.loose).blobs.insert(digest.clone());
    }

    /// Removes a blob from the store if no namespace has a record of it and nobody is about to write one.
    pub(crate) fn drop_blob(&self, digest: &Digest) {
        if let Err(error) = self.try_drop_blob(digest) {
            tracing::warn!(%digest, %error, "a blob without record stays until the next collection");
        }
    }

    /// The size of the blob, if it was removed. What goes wrong is for the next collection to try again.
    fn try_drop_blob(&self, digest: &Digest) -> Result<Option<u64>> {
        let Some(_removing) = self.pins.try_remove(digest) else {
            self.suspect_blob(digest);
            return Ok(None);
        };
        let dropped = self.drop_unowned(digest);
        if dropped.is_err() {
            self.suspect_blob(digest);
        }
        dropped
    }

    /// Only for who may remove the digest.
    fn drop_unowned(&self, digest: &Digest) -> Result<Option<u64>> {
        if self.read()?.first(RowKind::Owner, &[&digest.to_string()])?.is_some() {
            return Ok(None);
        }
        let dropped = self.content.info(digest).and_then(|info| self.content.delete(digest).map(|()| info.size));
        match dropped {
            Ok(size) => Ok(Some(size)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::store(format!("remove content {digest}"), error)),
        }
    }

    /// Removes blobs without record: the first time after the database was opened all are looked at, since a crash may have
    /// left some; later those whose records went.
    pub(super) fn sweep_content(&self, collected: &mut Collected) -> Result<()> {
        let mut suspects = std::mem::take(&mut held(&self.loose).blobs);
        if !held(&self.loose).content_swept {
            let walked = self.content.walk(&Filters::all(), &mut |info| {
                suspects.insert(info.digest);
                Ok(())
            });
            walked.map_err(|error| Error::store("list the content store", error))?;
            held(&self.loose).content_swept = true;
        }
        for digest in suspects {
            match self.try_drop_blob(&digest) {
                Ok(None) => {}
                Ok(Some(size)) => {
                    collected.blobs += 1;
                    collected.bytes += size;
                }
                Err(error) => tracing::warn!(%digest, %error, "a blob without record stays until the next collection"),
            }
        }
        Ok(())
    }

    /// Gives up ingests without record. A record is there before its ingest and its name never comes again, so one that is
    /// listed and has none by now is nobody's.
    pub(super) fn sweep_ingests(&self, collected: &mut Collected) -> Result<()> {
        let listed = self.content.statuses(&Filters::all());
        let listed = listed.map_err(|error| Error::store("list the ingests", error))?;
        let rows = self.read()?;
        for status in listed {
            let Some((namespace, reference)) = parse(&status.reference) else { continue };
            let found: Option<codec::Ingest> =
                rows.find(Row::new(RowKind::Ingest, &[namespace.as_str(), reference]))?;
            if found.is_some_and(|found| found.backend == status.reference) {
                continue;
            }
            match self.content.abort(&status.reference) {
                Ok(()) => collected.ingests += 1,
                Err(ContentError::NoIngest(_)) => {}
                Err(error) => tracing::warn!(ingest = status.reference, %error, "an ingest without record stays"),
            }
        }
        Ok(())
    }

    /// True when a record says so of a snapshot's name in the snapshotter behind; foreign names are none of our business.
    fn is_recorded(rows: &impl Rows, snapshotter: &str, behind: &str) -> Result<bool> {
        let Some((namespace, key)) = parse(behind) else { return Ok(true) };
        let row = Row::new(RowKind::Snapshot, &[namespace.as_str(), snapshotter, key]);
        Ok(rows.find::<codec::Snapshot>(row)?.is_some_and(|found| found.backend == behind))
    }

    /// Removes a snapshot from the snapshotter behind unless a record names it; what cannot be removed now is left to the
    /// collector.
    pub(crate) fn drop_snapshot(&self, snapshotter: &str, behind: &dyn Snapshotter, name: &str) {
        let dropped = self.read().and_then(|rows| {
            if Self::is_recorded(&rows, snapshotter, name)? {
                return Ok(());
            }
            match behind.remove(name) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::store("remove it", error)),
                _ => Ok(()),
            }
        });
        if let Err(error) = dropped {
            held(&self.loose).clean_snapshotters.remove(snapshotter);
            tracing::debug!(snapshotter, name, %error, "a snapshot without record stays until the next collection");
        }
    }

    /// Sweeps a snapshotter the first time after the database was opened, and when something of it was removed since.
    pub(super) fn sweep_if_unclean(&self, name: &str, behind: &dyn Snapshotter) -> Result<usize> {
        // Before it is swept: what is removed meanwhile counts for the next time.
        if !held(&self.loose).clean_snapshotters.insert(name.to_owned()) {
            return Ok(0);
        }
        let swept = self.sweep_snapshotter(name, behind);
        if swept.is_err() {
            held(&self.loose).clean_snapshotters.remove(name);
        }
        swept
    }

    /// Removes snapshots without record, records of active ones without snapshot, and files that no snapshot has; says how
    /// many snapshots went.
    pub(crate) fn sweep_snapshotter(&self, name: &str, behind: &dyn Snapshotter) -> Result<usize> {
        let mut listed: BTreeMap<String, Option<String>> = BTreeMap::new();
        let walked = behind.walk(&Filters::all(), &mut |info| {
            listed.insert(info.name, info.parent);
            Ok(())
        });
        walked.map_err(|error| Error::store(format!("list the snapshots of {name}"), error))?;
        // In this order: a name that was in flight when it was listed is so still, or its record is there to be read.
        let in_flight = held(&self.in_flight).clone();
        let rows = self.read()?;
        let mut doomed = Vec::new();
        for behind in listed.keys() {
            if !in_flight.contains(&(name.to_owned(), behind.clone())) && !Self::is_recorded(&rows, name, behind)? {
                doomed.push(behind.clone());
            }
        }
        let removed = self.remove_snapshots(name, behind, doomed, &listed);
        self.sweep_stale(name, behind, &rows, &listed)?;
        behind.cleanup().map_err(|error| Error::store(format!("clean up {name}"), error))?;
        Ok(removed)
    }

    /// Removes snapshots, children before their parents; says how many went.
    fn remove_snapshots(
        &self,
        snapshotter: &str,
        behind: &dyn Snapshotter,
        mut doomed: Vec<String>,
        listed: &BTreeMap<String, Option<String>>,
    ) -> usize {
        let depth = |name: &String| {
            std::iter::successors(listed.get(name), |parent| parent.as_ref().and_then(|parent| listed.get(parent)))
                .take(listed.len())
                .count()
        };
        doomed.sort_by_cached_key(|name| std::cmp::Reverse(depth(name)));
        let mut removed = 0;
        for name in doomed {
            match behind.remove(&name) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    held(&self.loose).clean_snapshotters.remove(snapshotter);
                    tracing::warn!(snapshotter, name, %error, "a snapshot without record stays until the next collection");
                }
            }
        }
        removed
    }

    /// Removes records of active snapshots that a crash in the middle of a commit left without what they name.
    fn sweep_stale(
        &self,
        name: &str,
        behind: &dyn Snapshotter,
        rows: &impl Rows,
        listed: &BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let mut missing: HashSet<Object> = HashSet::new();
        rows.scan(RowKind::Snapshot, &[], &mut |row, bytes| {
            let Some(object) = row.object().filter(|object| object.kind == ObjectKind::Snapshot(name.to_owned()))
            else {
                return Ok(true);
            };
            let stored: codec::Snapshot = decode(rows.file(), row, bytes)?;
            if snapshots::kind(stored.kind) != Kind::Committed && !listed.contains_key(&stored.backend) {
                missing.insert(object);
            }
            Ok(true)
        })?;
        for object in missing {
            // One that somebody works on now is none that a crash left; one that was made after the listing is there.
            let claim = (name.to_owned(), object.namespace.clone(), object.name.clone());
            let Some(_claim) = self.claims.try_hold(claim) else { continue };
            snapshots::drop_stale(self, behind, &object)
                .map_err(|error| Error::store(format!("look for {object}"), error))?;
        }
        Ok(())
    }
}
