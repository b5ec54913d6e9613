//! Labels: what clients write beside objects, and what the collector follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Kind};

/// Keys and values beside an object.
pub type Labels = BTreeMap<String, String>;

/// The most bytes a label's key and value may have together (containerd: `pkg/labels`).
pub const MAX_BYTES: usize = 4096;

/// The object is a root: the collector keeps it, whatever refers to it. The value is a time for people to read.
pub const GC_ROOT: &str = "containerd.io/gc.root";
/// What begins every label that refers to something.
pub const GC_REF: &str = "containerd.io/gc.ref.";
/// Refers to a blob by digest; `.name` or `/name` may follow, so that an object can refer to several.
pub const GC_REF_CONTENT: &str = "containerd.io/gc.ref.content";
/// Refers to a snapshot by key; the snapshotter's name follows, then perhaps `.name` or `/name`.
pub const GC_REF_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";
/// Refers to an image by name; `.name` or `/name` may follow.
pub const GC_REF_IMAGE: &str = "containerd.io/gc.ref.image";
/// Refers back to a container: the object is kept while that container is; `.name` or `/name` may follow.
pub const GC_BREF_CONTAINER: &str = "containerd.io/gc.bref.container";
/// Refers back to a blob: the object is kept while that blob is; `.name` or `/name` may follow.
pub const GC_BREF_CONTENT: &str = "containerd.io/gc.bref.content";
/// Refers back to an image: the object is kept while that image is; `.name` or `/name` may follow.
pub const GC_BREF_IMAGE: &str = "containerd.io/gc.bref.image";
/// Refers back to a snapshot: the object is kept while that snapshot is; the snapshotter's name follows.
pub const GC_BREF_SNAPSHOT: &str = "containerd.io/gc.bref.snapshot.";
/// From this time on (RFC 3339) the object is no root, whatever else is said; leases and images have it.
pub const GC_EXPIRE: &str = "containerd.io/gc.expire";
/// On a lease: what it names is kept, what that refers to is not.
pub const GC_FLAT: &str = "containerd.io/gc.flat";

/// On a compressed layer's blob: the digest of its uncompressed bytes.
pub const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// What begins the label of a blob that came from a registry: its host follows, the value is the repositories with commas
/// between them.
pub const DISTRIBUTION_SOURCE: &str = "containerd.io/distribution.source.";
/// In a request to prepare a snapshot: the name its committed form will have, so that a snapshotter may bring it from
/// elsewhere.
pub const SNAPSHOT_REF: &str = "containerd.io/snapshot.ref";
/// What begins the labels that a snapshotter hands on from an image's layer to its snapshots.
pub const SNAPSHOT_PREFIX: &str = "containerd.io/snapshot/";
/// On a namespace, `true`: others may use its content by digest.
pub const NAMESPACE_SHAREABLE: &str = "containerd.io/namespace.shareable";
/// On a namespace: the snapshotter that requests without one get.
pub const DEFAULT_SNAPSHOTTER: &str = "containerd.io/defaults/snapshotter";
/// On a namespace: the runtime that requests without one get.
pub const DEFAULT_RUNTIME: &str = "containerd.io/defaults/runtime";

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

#[cfg(test)]
mod tests {
    use super::*;

    fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn a_key_and_value_of_the_limit_fit() {
        assert_eq!(validate(&labels([("key", &"v".repeat(MAX_BYTES - 3))])), Ok(()));
        let error = validate(&labels([("a", ""), (&"k".repeat(4000), &"v".repeat(97))])).unwrap_err();
        assert_eq!((error.key.len(), error.bytes, error.kind()), (64, 4097, ErrorKind::InvalidArgument));
    }

    #[test]
    fn a_merge_removes_what_is_empty_and_a_replacement_all_else() {
        let mut now = labels([("a", "1"), ("b", "2")]);
        LabelChange::Merge(labels([("b", ""), ("c", "3"), ("d", "")])).apply(&mut now);
        assert_eq!(now, labels([("a", "1"), ("c", "3")]));
        LabelChange::Replace(labels([("e", "")])).apply(&mut now);
        assert_eq!(now, labels([("e", "")]));
    }
}
