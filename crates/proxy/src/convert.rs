//! Between the API's messages and the words of the crates.

use std::time::SystemTime;

use prost_types::{FieldMask, Timestamp};
use wharf_api::containerd::types as api;
use wharf_types::{LabelChange, Labels, Mount};

/// A point in time; what is none, or not said, is the beginning of 1970.
pub(crate) fn time(timestamp: Option<Timestamp>) -> SystemTime {
    timestamp.and_then(|timestamp| timestamp.try_into().ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A size; the API has a sign where none is meant.
pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A size for a field that has a sign.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The labels and the mask of an update; none where nothing is to change, since no mask would mean all.
pub(crate) fn change(change: &LabelChange) -> Option<(Labels, FieldMask)> {
    match change {
        LabelChange::Replace(labels) => Some((labels.clone(), FieldMask { paths: vec!["labels".to_owned()] })),
        LabelChange::Merge(labels) if labels.is_empty() => None,
        LabelChange::Merge(labels) => {
            let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
            Some((labels.clone(), FieldMask { paths }))
        }
    }
}

/// Mounts that a plugin answered.
pub(crate) fn from_mounts(mounts: Vec<api::Mount>) -> Vec<Mount> {
    let mount = |m: api::Mount| Mount { kind: m.r#type, source: m.source, target: m.target, options: m.options };
    mounts.into_iter().map(mount).collect()
}

/// Mounts for a plugin.
pub(crate) fn mounts(mounts: &[Mount]) -> Vec<api::Mount> {
    let mount = |m: &Mount| api::Mount {
        r#type: m.kind.clone(),
        source: m.source.clone(),
        target: m.target.clone(),
        options: m.options.clone(),
    };
    mounts.iter().map(mount).collect()
}
