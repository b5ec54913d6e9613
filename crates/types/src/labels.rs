//! Labels: what clients write beside objects, and what the collector follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Kind};

/// Keys and values beside an object.
pub type Labels = BTreeMap<String, String>;

/// The most bytes a label's key and value may have together (containerd: `pkg/labels`).
pub const MAX_BYTES: usize = 4096;

/// A label that is too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label {key:?}: key and value have {bytes} bytes together, {MAX_BYTES} are allowed")]
pub struct TooLong {
    /// The key, cut to its first 64 characters.
    pub key: String,
    /// The bytes of key and value together.
    pub bytes: usize,
}

impl Kind for TooLong {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Refuses labels whose key and value have more than [`MAX_BYTES`] together.
///
/// # Errors
/// [`TooLong`] names the first such label.
pub fn validate(labels: &Labels) -> Result<(), TooLong> {
    for (key, value) in labels {
        let bytes = key.len() + value.len();
        if bytes > MAX_BYTES {
            return Err(TooLong { key: key.chars().take(64).collect(), bytes });
        }
    }
    Ok(())
}

/// How an update changes labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelChange {
    /// These and no others.
    Replace(Labels),
    /// Each of these is set; one with an empty value is removed; all others stay.
    Merge(Labels),
}

impl LabelChange {
    /// Applies the change to `labels`.
    pub fn apply(&self, labels: &mut Labels) {
        match self {
            Self::Replace(new) => labels.clone_from(new),
            Self::Merge(new) => {
                for (key, value) in new {
                    if value.is_empty() {
                        labels.remove(key);
                    } else {
                        labels.insert(key.clone(), value.clone());
                    }
                }
            }
        }
    }
}
