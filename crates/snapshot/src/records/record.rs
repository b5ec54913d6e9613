//! A record and its bytes: JSON, so that a stranger can read it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use wharf_types::Labels;

use super::{New, damaged};
use crate::error::{Error, Result};
use crate::{Info, Kind, Usage};

/// What is written down of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Names its directory.
    pub(crate) id: u64,
    pub(crate) info: Info,
    /// Measured at commit; nothing for those that can still change.
    pub(crate) usage: Usage,
    /// The parent will be named at commit.
    pub(crate) later: bool,
}

/// The bytes' form. The name is the table's key.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: u64,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    /// Since 1970.
    created: Duration,
    /// Since 1970.
    updated: Duration,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    #[serde(default)]
    usage: Usage,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    later: bool,
}

impl Record {
    pub(super) fn new(new: &New<'_>, id: u64, now: SystemTime) -> Self {
        let info = Info {
            name: new.key.to_owned(),
            parent: new.parent.map(str::to_owned),
            kind: new.kind,
            created_at: now,
            updated_at: now,
            labels: new.labels.clone(),
        };
        Self { id, info, usage: Usage::default(), later: new.later }
    }

    pub(super) fn encode(&self, file: &Path) -> Result<Vec<u8>> {
        // A clock before 1970 is wrong anyway.
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let stored = Stored {
            id: self.id,
            kind: self.info.kind,
            parent: self.info.parent.clone(),
            created: since(self.info.created_at),
            updated: since(self.info.updated_at),
            labels: self.info.labels.clone(),
            usage: self.usage,
            later: self.later,
        };
        serde_json::to_vec(&stored).map_err(|e| Error::io("encode a record for", file, e))
    }

    pub(super) fn decode(file: &Path, name: &str, bytes: &[u8]) -> Result<Self> {
        let unreadable = |why: String| damaged(file, &format!("the record of snapshot {name:?} cannot be read: {why}"));
        let stored: Stored = serde_json::from_slice(bytes).map_err(|e| unreadable(e.to_string()))?;
        let time = |since| SystemTime::UNIX_EPOCH.checked_add(since);
        let (Some(created_at), Some(updated_at)) = (time(stored.created), time(stored.updated)) else {
            return Err(unreadable("its time is out of range".to_owned()));
        };
        let info = Info {
            name: name.to_owned(),
            parent: stored.parent,
            kind: stored.kind,
            created_at,
            updated_at,
            labels: stored.labels,
        };
        Ok(Self { id: stored.id, info, usage: stored.usage, later: stored.later })
    }
}
