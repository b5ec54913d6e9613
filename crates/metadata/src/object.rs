//! What the database has records of, as the collector sees it.

use std::fmt;

use wharf_types::Namespace;

use crate::Resource;

/// One object in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Where it is.
    pub namespace: Namespace,
    /// What it is.
    pub kind: ObjectKind,
    /// Its digest, reference, name, key or identifier.
    pub name: String,
}

/// What an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A blob.
    Content,
    /// An ingest.
    Ingest,
    /// An image.
    Image,
    /// A container; the collector never removes one.
    Container,
    /// A lease.
    Lease,
    /// A sandbox; the collector never removes one.
    Sandbox,
    /// What is mounted for a client under one name.
    Mount,
    /// A snapshot of the snapshotter of this name.
    Snapshot(String),
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content => f.write_str("content"),
            Self::Ingest => f.write_str("ingest"),
            Self::Image => f.write_str("image"),
            Self::Container => f.write_str("container"),
            Self::Lease => f.write_str("lease"),
            Self::Sandbox => f.write_str("sandbox"),
            Self::Mount => f.write_str("mount"),
            Self::Snapshot(snapshotter) => write!(f, "{snapshotter} snapshot"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} in namespace {}", self.kind, self.name, self.namespace)
    }
}

impl ObjectKind {
    /// The kind that a lease's resource names (containerd: `core/metadata/leases.go`).
    pub(crate) fn of_resource(kind: &str) -> Option<Self> {
        match kind {
            "content" => Some(Self::Content),
            "ingests" => Some(Self::Ingest),
            "images" => Some(Self::Image),
            _ => {
                kind.strip_prefix("snapshots/").filter(|name| !name.is_empty()).map(|name| Self::Snapshot(name.into()))
            }
        }
    }

    /// The word for it in a lease; containers, sandboxes, mounts (whose records name their lease) and leases are
    /// not leased.
    pub(crate) fn resource(&self, name: &str) -> Option<Resource> {
        let kind = match self {
            Self::Content => "content".to_owned(),
            Self::Ingest => "ingests".to_owned(),
            Self::Image => "images".to_owned(),
            Self::Snapshot(snapshotter) => format!("snapshots/{snapshotter}"),
            Self::Container | Self::Lease | Self::Sandbox | Self::Mount => return None,
        };
        Some(Resource { kind, id: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_and_kinds_are_the_same_words() {
        for kind in [ObjectKind::Content, ObjectKind::Ingest, ObjectKind::Image, ObjectKind::Snapshot("native".into())]
        {
            let resource = kind.resource("x").expect("it is leased");
            assert_eq!(ObjectKind::of_resource(&resource.kind), Some(kind));
        }
        for other in ["", "snapshots", "snapshots/", "containers", "Content"] {
            assert_eq!(ObjectKind::of_resource(other), None, "{other}");
        }
    }
}
