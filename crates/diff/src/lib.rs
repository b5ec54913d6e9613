//! A layer's bytes to a tree of files and back.
//!
//! An [`Applier`] promises that nothing a layer says reaches outside of the tree it is given, that what it cannot take it
//! refuses with the name of the entry, and that the diff ID it returns is that of all bytes the layer inflates to. It
//! never fetches, and knows neither blobs nor snapshots. It makes nothing durable: whoever commits the tree does.
//!
//! [`LayerApplier`] is the one that is built; [`apply`] tells how it treats mounts, whiteouts and layers whose parents are
//! not known yet.
//!
//! A [`Comparer`] promises that the layer it writes, applied to the lower tree, makes the upper one, that the same trees make
//! the same bytes, and that neither tree is written to or left by a link. [`LayerComparer`] is the one that is built;
//! [`compare`] tells what it takes for a change.
//!
//! [`bundle`] reads and writes archives that are no layers: images in one file.
//!
//! All calls block; an asynchronous program calls them from threads of its own.

pub mod apply;
mod archive;
mod at;
pub mod bundle;
pub mod compare;
mod deflate;
pub mod error;
mod inflate;
mod overlay;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod testing;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

pub use apply::LayerApplier;
pub use compare::LayerComparer;
pub use error::{Error, Result};
use wharf_types::{Digest, Mount};

/// Extracts layers.
pub trait Applier: Send + Sync {
    /// Inflates `layer`, a tar of `media_type`, and extracts it into what `mounts` describe. All of `layer` is read, also what
    /// follows the archive's end.
    ///
    /// # Errors
    /// `Unimplemented` for a media type it does not take; `InvalidArgument` for a layer that is malformed or reaches outside;
    /// `ResourceExhausted` when the disk is full or a bound is met; [`Error::NeedsParents`] (`FailedPrecondition`) for a layer
    /// whose parents are to be named later and that cannot be understood without them. The tree is then to be thrown away.
    fn apply(&self, layer: &mut dyn Read, media_type: &str, mounts: &[Mount]) -> Result<Applied>;

    /// Gives directories that a layer did not list itself the owner, mode, times and attributes they have in the layers below.
    /// For layers that were extracted before their parents were known; `parents` are directories, the nearest first, in
    /// overlayfs' form and with their own implied directories adopted already: go through an image from its lowest layer up.
    ///
    /// # Errors
    /// [`Error::NeedsParents`] when such a directory is a link or file in the parents: the layer's files went to the wrong
    /// place, throw the tree away and extract it again onto its parents. Otherwise when the directories cannot be read or
    /// written.
    fn adopt(&self, mounts: &[Mount], implied: &[PathBuf], parents: &[PathBuf]) -> Result<()>;
}

/// Writes layers.
pub trait Comparer: Send + Sync {
    /// Writes to `layer` what makes the tree that `upper` describes of the one that `lower` does; without lower mounts, of an
    /// empty one. Both are as a snapshotter answers them, writable or not; they are only read.
    ///
    /// # Errors
    /// `Unimplemented` for a media type that is not written; `InvalidArgument` for mounts that show no tree and for files that
    /// no layer can hold; [`Error::Changed`] (`Aborted`) when the upper tree is being written to; [`Error::Io`] when a file
    /// cannot be read or `layer` cannot be written. What was written to `layer` is then to be thrown away.
    fn compare(&self, lower: &[Mount], upper: &[Mount], wanted: &Comparison, layer: &mut dyn Write)
    -> Result<Compared>;
}

/// How a layer is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// One of the media types of layers, which says how it is compressed; that of an OCI layer with gzip where it is empty.
    pub media_type: String,
    /// No entry gets a later time than this, and whiteouts get it; without it, whiteouts are of the beginning of 1970 and
    /// everything else has the time it has (<https://reproducible-builds.org/docs/source-date-epoch/>).
    pub source_date_epoch: Option<SystemTime>,
}

/// What layer was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The media type of what was written.
    pub media_type: String,
    /// The digest of the uncompressed layer.
    pub diff_id: Digest,
    /// The size of the uncompressed layer in bytes.
    pub size: u64,
}

/// What a layer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The digest of the uncompressed layer.
    pub diff_id: Digest,
    /// The size of the uncompressed layer in bytes.
    pub size: u64,
    /// Directories that the layer needed but did not list, relative to the root (which is the empty path), parents before
    /// children; for [`Applier::adopt`]. Empty where the layers below were in sight.
    pub implied: Vec<PathBuf>,
}
