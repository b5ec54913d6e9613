//! The records themselves.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use wharf_types::{Any, Descriptor, Labels, Mount, Namespace};

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRecord {
    /// Its name.
    pub name: Namespace,
    /// Its labels.
    pub labels: Labels,
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name, unique in its namespace.
    pub name: String,
    /// The index or manifest.
    pub target: Descriptor,
    /// Its labels.
    pub labels: Labels,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it changed last.
    pub updated_at: SystemTime,
}

/// A container: everything that a task is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The identifier, unique in its namespace.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
    /// The name of the image it was made from; may be empty.
    pub image: String,
    /// The runtime; never changes.
    pub runtime: Runtime,
    /// The OCI runtime specification, as it came.
    pub spec: Option<Any>,
    /// The snapshotter that holds the root filesystem; never changes once set.
    pub snapshotter: String,
    /// The key of the root filesystem's snapshot.
    pub snapshot_key: String,
    /// What clients keep beside it.
    pub extensions: BTreeMap<String, Any>,
    /// The sandbox it belongs to; may be empty.
    pub sandbox: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it changed last.
    pub updated_at: SystemTime,
}

/// The runtime of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Such as `io.containerd.runc.v2`.
    pub name: String,
    /// The runtime's own options.
    pub options: Option<Any>,
}

/// A sandbox: what containers that share a shim, or a machine, are put into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The identifier, unique in its namespace.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
    /// The runtime; its name never changes but by a field mask.
    pub runtime: Runtime,
    /// What the sandbox is made from, in the controller's own words.
    pub spec: Option<Any>,
    /// The controller that runs it; may be empty, never changes.
    pub sandboxer: String,
    /// What clients keep beside it.
    pub extensions: BTreeMap<String, Any>,
    /// When it was made.
    pub created_at: SystemTime,
    /// When it changed last.
    pub updated_at: SystemTime,
}

/// What is mounted for a client under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The name, unique in its namespace.
    pub name: String,
    /// Its labels; those that the collector knows keep it.
    pub labels: Labels,
    /// The lease that keeps it.
    pub lease: Option<String>,
    /// A number that no other activation has had; its directory's name.
    pub number: u64,
    /// What is mounted, bottom first.
    pub active: Vec<ActiveMount>,
    /// What is left for the client to mount.
    pub system: Vec<Mount>,
    /// When it was made.
    pub created_at: SystemTime,
}

/// One mount that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveMount {
    /// What is mounted; templates are filled in.
    pub mount: Mount,
    /// Where it is.
    pub point: String,
    /// Since when.
    pub mounted_at: SystemTime,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The identifier, unique in its namespace.
    pub id: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// Its labels; `containerd.io/gc.expire` ends it.
    pub labels: Labels,
}

/// Something that a lease holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// `content`, `ingests`, `images` or `snapshots/<snapshotter>`.
    pub kind: String,
    /// The digest, reference, name or key.
    pub id: String,
}
