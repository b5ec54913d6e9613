//! Layered filesystems by key and parent.
//!
//! A [`Snapshotter`] promises that a committed snapshot never changes and was on disk before it counted as committed, that an
//! active one is writable and belongs to one key, and that nothing with children can be removed. It never mounts: it says
//! what to mount. It never unpacks, and knows no namespaces and no images.
//!
//! All calls block; an asynchronous program calls them from threads of its own.
//!
//! ```no_run
//! use wharf_snapshot::{Base, Commit, Snapshotter, overlay::OverlaySnapshotter};
//!
//! let snapshots = OverlaySnapshotter::open("/var/lib/wharf/snapshots")?;
//! let mounts = snapshots.prepare("unpacking", Base::Empty, &Default::default())?;
//! // … mount, write a layer's files, unmount …
//! snapshots.commit(&[Commit { name: "layer".into(), key: "unpacking".into(), ..Commit::default() }])?;
//! # Ok::<(), wharf_snapshot::Error>(())
//! ```

mod copy;
pub mod error;
mod info;
pub mod native;
pub mod overlay;
mod records;
mod store;
#[cfg(feature = "testsuite")]
pub mod testsuite;
mod usage;

use std::time::SystemTime;

pub use error::{Error, Result};
use wharf_types::{Filters, LabelChange, Labels, Mount};

/// A tree of filesystems. Keys name active snapshots and views, names name committed ones; they share one space of names.
pub trait Snapshotter: Send + Sync {
    /// What is known of a snapshot.
    ///
    /// # Errors
    /// `NotFound`.
    fn stat(&self, name: &str) -> Result<Info>;

    /// Changes a snapshot's labels and returns what is known of it then.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` when a label is too long.
    fn update(&self, name: &str, change: &LabelChange) -> Result<Info>;

    /// What a snapshot takes by itself, without its parents.
    ///
    /// # Errors
    /// `NotFound`.
    fn usage(&self, name: &str) -> Result<Usage>;

    /// What to mount for an active snapshot or a view.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` for a committed snapshot.
    fn mounts(&self, key: &str) -> Result<Vec<Mount>>;

    /// Makes an active snapshot and says what to mount for it.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` when the parent is missing; `InvalidArgument` when it is not committed or an empty name;
    /// `Unimplemented` for [`Base::Later`] where [`Snapshotter::stacks_later`] is false.
    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> Result<Vec<Mount>>;

    /// Makes a view, which cannot be written or committed, and says what to mount for it.
    ///
    /// # Errors
    /// As [`Snapshotter::prepare`].
    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>>;

    /// Turns active snapshots into committed ones: all of their files are made durable at once, then all of their records
    /// appear at once. Later entries may have earlier ones as parents.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `FailedPrecondition` for a view; then none of the batch is committed.
    fn commit(&self, batch: &[Commit]) -> Result<()>;

    /// Removes a snapshot: its record first, then its files.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` while it has children.
    fn remove(&self, name: &str) -> Result<()>;

    /// Calls `visit` for each snapshot that `filters` match (fields: `name`, `parent`, `kind`, `labels.*`).
    ///
    /// # Errors
    /// The first error of `visit` ends the walk and is returned.
    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()>;

    /// Removes files that no record names.
    ///
    /// # Errors
    /// When the files cannot be read or removed.
    fn cleanup(&self) -> Result<()>;

    /// True when [`Base::Later`] is taken, so that the layers of an image can be extracted side by side.
    fn stacks_later(&self) -> bool {
        false
    }
}

/// What an active snapshot stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base<'a> {
    /// Nothing: an empty directory.
    Empty,
    /// A committed snapshot.
    On(&'a str),
    /// A parent that will be named at commit. What is to be mounted is an `overlay` with an `upperdir` alone, which cannot be
    /// mounted but says where a layer's files go and that whiteouts are to be written in overlayfs' form.
    Later,
}

/// One step of [`Snapshotter::commit`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The committed snapshot's name.
    pub name: String,
    /// The active snapshot's key.
    pub key: String,
    /// The committed snapshot's labels; those of the active one are not inherited.
    pub labels: Labels,
    /// The parent, for a snapshot that was prepared with [`Base::Later`], or to say again what it is.
    pub parent: Option<String>,
}

/// What a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Can be read.
    View,
    /// Can be written, and committed.
    Active,
    /// Can be a parent.
    Committed,
}

impl Kind {
    /// The word that filters and clients use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Active => "active",
            Self::Committed => "committed",
        }
    }
}

/// What is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its key or name.
    pub name: String,
    /// The name of its parent.
    pub parent: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// When it was made.
    pub created_at: SystemTime,
    /// When its record changed last.
    pub updated_at: SystemTime,
    /// Its labels.
    pub labels: Labels,
}

/// What a snapshot takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Bytes on disk.
    pub size: u64,
    /// Files, directories and everything else that has an inode.
    pub inodes: u64,
}
