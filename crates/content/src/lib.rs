//! Blobs by digest, and ingests by reference until their digest is known.
//!
//! A [`ContentStore`] promises that a blob is visible only after its bytes were verified against its digest and are on
//! disk, that an ingest goes on after a crash from the last byte that was written, and that one reference has one
//! writer at a time. It never fetches, never unpacks, and knows no namespaces.
//!
//! All calls block; an asynchronous program calls them from threads of its own.
//!
//! ```
//! use wharf_content::{Commit, ContentStore, Ingest, LocalStore};
//! use wharf_types::Digest;
//!
//! # let root = tempfile::tempdir()?;
//! let store = LocalStore::open(root.path())?;
//! let ingest = Ingest { reference: "layer-1".into(), total: Some(5), expected: Some(Digest::of(b"hello")) };
//! let mut writer = store.writer(&ingest)?;
//! writer.write(b"he")?;
//! drop(writer); // or the process is killed
//!
//! let mut writer = store.writer(&ingest)?;
//! assert_eq!(writer.status().offset, 2);
//! writer.write(b"llo")?;
//! let info = writer.commit(&Commit::default())?;
//! assert_eq!(store.reader(&info.digest)?.size(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod error;
mod fields;
pub mod local;
#[cfg(feature = "testsuite")]
pub mod testsuite;

use std::time::SystemTime;

pub use error::{Error, Result};
pub use local::LocalStore;
use wharf_types::{Digest, Filters, LabelChange, Labels};

/// A store of blobs.
pub trait ContentStore: Send + Sync {
    /// What is known of a blob.
    ///
    /// # Errors
    /// `NotFound` when there is no such blob.
    fn info(&self, digest: &Digest) -> Result<Info>;

    /// Changes a blob's labels and returns what is known of it then.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` when a label is too long.
    fn update(&self, digest: &Digest, change: &LabelChange) -> Result<Info>;

    /// Calls `visit` for each blob that `filters` match (fields: `digest`, `size`, `labels.*`), in no promised order.
    ///
    /// # Errors
    /// The first error of `visit` ends the walk and is returned.
    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()>;

    /// Removes a blob. Readers that are open go on.
    ///
    /// # Errors
    /// `NotFound`.
    fn delete(&self, digest: &Digest) -> Result<()>;

    /// Opens a blob.
    ///
    /// # Errors
    /// `NotFound`.
    fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>>;

    /// Opens the ingest of a reference, at the offset where it stands, or begins it. Where more bytes are there than the
    /// total that is known, it begins again at 0.
    ///
    /// # Errors
    /// `AlreadyExists` when the expected digest is there already; `Unavailable` while the reference has another writer;
    /// `FailedPrecondition` when the ingest was begun with another size.
    fn writer(&self, ingest: &Ingest) -> Result<Box<dyn Writer>>;

    /// Where an ingest stands.
    ///
    /// # Errors
    /// `NotFound`.
    fn status(&self, reference: &str) -> Result<Status>;

    /// All ingests that `filters` match (field: `ref`).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn statuses(&self, filters: &Filters) -> Result<Vec<Status>>;

    /// Gives up an ingest and its bytes.
    ///
    /// # Errors
    /// `NotFound`.
    fn abort(&self, reference: &str) -> Result<()>;
}

/// An open blob, or the bytes of an ingest so far.
pub trait Reader: Send + Sync {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Reads at `offset` into `buffer` and returns how many bytes were read, 0 only at the end or for an empty buffer.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
}

/// An open ingest. Dropping it keeps the bytes for the next writer of the same reference.
pub trait Writer: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// `ResourceExhausted` when the disk is full; `FailedPrecondition` after a commit.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Where the ingest stands.
    fn status(&self) -> Status;

    /// The digest of all bytes so far, in the algorithm of the expected digest (sha256 without one).
    fn digest(&self) -> Digest;

    /// The bytes so far, to be read while the ingest is open.
    ///
    /// # Errors
    /// When the ingest cannot be read.
    fn reader(&self) -> Result<Box<dyn Reader>>;

    /// Throws all bytes away and begins again.
    ///
    /// # Errors
    /// When the ingest cannot be written.
    fn truncate(&mut self) -> Result<()>;

    /// Verifies size and digest, makes the bytes durable and the blob visible under its digest.
    ///
    /// # Errors
    /// `FailedPrecondition` when size or digest are not the expected ones: nothing becomes visible and the ingest stays, to be
    /// truncated or aborted; `AlreadyExists` when the blob was there already: the ingest is gone.
    fn commit(&mut self, commit: &Commit) -> Result<Info>;
}

/// Names an ingest and what is known of the blob it will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingest {
    /// The reference: any text that is not empty, one writer at a time.
    pub reference: String,
    /// The size in bytes where it is known.
    pub total: Option<u64>,
    /// The digest where it is known.
    pub expected: Option<Digest>,
}

/// What must be true for a commit, and the labels the blob starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The size in bytes where it is known.
    pub size: Option<u64>,
    /// The digest where it is known; otherwise the one that was given when the ingest was opened counts.
    pub expected: Option<Digest>,
    /// The blob's labels.
    pub labels: Labels,
}

/// What is known of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The blob's digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// When it was committed.
    pub created_at: SystemTime,
    /// When its labels changed last.
    pub updated_at: SystemTime,
    /// Its labels.
    pub labels: Labels,
}

/// Where an ingest stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The reference.
    pub reference: String,
    /// How many bytes were written.
    pub offset: u64,
    /// The size it will have, where it is known.
    pub total: Option<u64>,
    /// The digest it will have, where it is known.
    pub expected: Option<Digest>,
    /// When it was begun.
    pub started_at: SystemTime,
    /// When it was written last.
    pub updated_at: SystemTime,
}
