//! Committing: active records become committed ones, all of a batch or none.

use std::time::SystemTime;

use wharf_types::labels;

use super::tables::{Tables, find, look_up, parent};
use super::{Record, Records};
use crate::error::{Error, Result};
use crate::{Commit, Kind, Usage};

/// A step whose files are on disk.
#[derive(Clone, Debug)]
pub(crate) struct Settled<'a> {
    pub(crate) commit: &'a Commit,
    /// The number that the active snapshot had when its files were looked at.
    pub(crate) id: u64,
    pub(crate) usage: Usage,
}

impl Records {
    /// The active snapshot of a step, before anything is done to its files.
    pub(crate) fn active(&self, commit: &Commit) -> Result<Record> {
        if commit.name.is_empty() {
            return Err(Error::Invalid(format!("snapshot {:?} cannot be committed under an empty name", commit.key)));
        }
        labels::validate(&commit.labels).map_err(|e| Error::Invalid(format!("snapshot {:?}: {e}", commit.name)))?;
        let record = self.get(&commit.key)?;
        is_active(&record)?;
        Ok(record)
    }

    /// Commits every step in one transaction, in order.
    pub(crate) fn commit(&self, steps: &[Settled<'_>]) -> Result<()> {
        self.write(|tables| steps.iter().try_for_each(|step| one(tables, step)))
    }
}

fn is_active(record: &Record) -> Result<()> {
    if record.info.kind == Kind::Active {
        return Ok(());
    }
    let reason = format!("is {}, and only active ones can be committed", record.info.kind.name());
    Err(Error::Precondition { name: record.info.name.clone(), reason })
}

fn one(tables: &mut Tables<'_>, step: &Settled<'_>) -> Result<()> {
    let (commit, file) = (step.commit, tables.file);
    let active = find(&tables.snapshots, file, &commit.key)?;
    is_active(&active)?;
    if active.id != step.id {
        let reason = "was replaced by another of the same key meanwhile".to_owned();
        return Err(Error::Precondition { name: commit.key.clone(), reason });
    }
    if look_up(&tables.snapshots, file, &commit.name)?.is_some() {
        return Err(Error::AlreadyExists(commit.name.clone()));
    }
    let base = base(&active, commit)?;
    if let Some(base) = base.as_deref() {
        parent(&tables.snapshots, file, base)?;
    }
    let now = SystemTime::now();
    let mut committed = active.clone();
    committed.info.name.clone_from(&commit.name);
    committed.info.kind = Kind::Committed;
    committed.info.parent = base;
    committed.info.labels = commit.labels.clone();
    (committed.info.created_at, committed.info.updated_at) = (now, now);
    (committed.usage, committed.later) = (step.usage, false);
    tables.delete(&active)?;
    tables.put(&committed)
}

/// What the committed snapshot stands on.
fn base(active: &Record, commit: &Commit) -> Result<Option<String>> {
    match (&active.info.parent, &commit.parent) {
        (now, None) => Ok(now.clone()),
        (Some(now), Some(asked)) if now == asked => Ok(Some(now.clone())),
        // What was extracted onto nothing has no whiteouts, so it cannot stand on anything afterwards.
        (None, Some(asked)) if active.later => Ok(Some(asked.clone())),
        (now, Some(asked)) => {
            let stands = now.as_ref().map_or_else(|| "nothing".to_owned(), |now| format!("{now:?}"));
            Err(Error::Invalid(format!(
                "snapshot {:?} cannot be committed on {asked:?}: it was prepared on {stands}",
                commit.key
            )))
        }
    }
}
