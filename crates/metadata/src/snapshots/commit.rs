//! Committing a batch: the snapshotter behind first, then all records at once.

use std::collections::BTreeMap;

use wharf_snapshot::{Commit, Error, Kind, Result};
use wharf_types::Labels;

use super::errors::rename;
use super::{InFlight, SnapshotView, delete, inherited, kind, number};
use crate::codec;
use crate::fields::checked;
use crate::leases;
use crate::rows::{Rows as _, Writing};

/// One step, with what the snapshotter behind calls everything.
struct Step<'a> {
    commit: &'a Commit,
    labels: Labels,
    /// The record of the active snapshot.
    active: codec::Snapshot,
    /// The committed snapshot's name there.
    name: InFlight<'a>,
    /// The parent's name here and there, where the step names one.
    parent: Option<(&'a str, String)>,
}

impl SnapshotView {
    pub(super) fn commit_batch(&self, batch: &[Commit]) -> Result<()> {
        let names = batch.iter().flat_map(|commit| [self.claim(&commit.name), self.claim(&commit.key)]);
        let _claims = self.db.inner.claims.hold(names);
        let steps = self.steps(batch)?;
        let behind: Vec<Commit> = steps.iter().map(Step::behind).collect();
        if let Err(error) = self.behind.commit(&behind) {
            return Err(steps.iter().fold(error, |error, step| step.rename(error)));
        }
        let recorded = self.db.inner.write(|rows| steps.iter().try_for_each(|step| self.record(rows, step)));
        if recorded.is_err() {
            // The last of them stand on the first.
            for step in steps.iter().rev() {
                self.db.inner.drop_snapshot(&self.name, self.behind.as_ref(), &step.name.entry.1);
            }
        }
        recorded
    }

    /// What each step of the batch is about; those before it count.
    fn steps<'a>(&'a self, batch: &'a [Commit]) -> Result<Vec<Step<'a>>> {
        let rows = self.db.inner.read()?;
        let mut steps: Vec<Step<'a>> = Vec::new();
        let mut committed: BTreeMap<&str, String> = BTreeMap::new();
        for commit in batch {
            if commit.name.is_empty() {
                return Err(Error::Invalid(format!(
                    "snapshot {:?} cannot be committed under an empty name",
                    commit.key
                )));
            }
            let labels = checked("snapshot", &commit.name, commit.labels.clone())?;
            let active = self.find(&rows, &commit.key)?;
            is_active(&commit.key, &active)?;
            if rows.has(self.row(&commit.name))? && !self.stale(&commit.name)? {
                return Err(Error::AlreadyExists(commit.name.clone()));
            }
            let parent = commit.parent.as_deref().filter(|parent| !parent.is_empty());
            let parent = match parent {
                None => None,
                Some(parent) => Some(match committed.get(parent) {
                    Some(name) => (parent, name.clone()),
                    None => (parent, self.parent(&rows, parent)?.backend),
                }),
            };
            let name = self.fresh(&commit.name)?;
            if committed.insert(&commit.name, name.entry.1.clone()).is_some() {
                return Err(Error::AlreadyExists(commit.name.clone()));
            }
            steps.push(Step { commit, labels, active, name, parent });
        }
        Ok(steps)
    }

    /// Turns the record of the active snapshot into one of the committed snapshot.
    fn record(&self, rows: &mut Writing<'_>, step: &Step<'_>) -> Result<()> {
        let Step { commit, active, .. } = step;
        if self.find(rows, &commit.key)?.backend != active.backend {
            return Err(Error::NotFound(commit.key.clone()));
        }
        let parent = step.parent.as_ref().map_or(active.parent.as_str(), |(parent, _)| parent).to_owned();
        if !parent.is_empty() {
            self.parent(rows, &parent)?;
        }
        delete(rows, &self.object(&commit.key), active)?;
        let now = Some(rows.now.into());
        let stored = codec::Snapshot {
            backend: step.name.entry.1.clone(),
            kind: number(Kind::Committed),
            parent,
            created: now,
            updated: now,
            labels: step.labels.clone(),
        };
        self.put(rows, &commit.name, &stored)?;
        if let Some(lease) = &self.lease {
            leases::release(rows, lease, &self.object(&commit.key))?;
        }
        self.hold(rows, &commit.name)
    }
}

impl Step<'_> {
    fn behind(&self) -> Commit {
        Commit {
            name: self.name.entry.1.clone(),
            key: self.active.backend.clone(),
            labels: inherited(&self.labels),
            parent: self.parent.as_ref().map(|(_, behind)| behind.clone()),
        }
    }

    fn rename(&self, error: Error) -> Error {
        let parent = self.parent.as_ref().map(|(parent, behind)| (behind.as_str(), *parent));
        let error = rename(error, &self.name.entry.1, &self.commit.name, parent);
        rename(error, &self.active.backend, &self.commit.key, None)
    }
}

fn is_active(key: &str, found: &codec::Snapshot) -> Result<()> {
    match kind(found.kind) {
        Kind::Active => Ok(()),
        kind => {
            let reason = format!("is {}, and only active ones can be committed", kind.name());
            Err(Error::Precondition { name: key.to_owned(), reason })
        }
    }
}
