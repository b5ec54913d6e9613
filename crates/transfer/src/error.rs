//! What can go wrong in a transfer.

use wharf_types::{BoxError, Digest, ErrorKind, Kind};

/// The result of a transfer or a part of one.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done to what, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry's part.
    #[error(transparent)]
    Fetch(#[from] wharf_fetch::Error),
    /// The content store's part.
    #[error(transparent)]
    Content(#[from] wharf_content::Error),
    /// The snapshotter's part.
    #[error(transparent)]
    Snapshot(#[from] wharf_snapshot::Error),
    /// A layer that cannot be extracted.
    #[error("unpack layer {layer}: {source}")]
    Layer {
        /// The layer's blob.
        layer: Digest,
        /// Why it cannot.
        source: wharf_diff::Error,
    },
    /// A layer that is another than the image's configuration says.
    #[error("unpack layer {layer}: it inflates to {actual}, the image's configuration says {expected}")]
    DiffId {
        /// The layer's blob.
        layer: Digest,
        /// The digest of what it inflates to.
        actual: Digest,
        /// What the configuration says.
        expected: Digest,
    },
    /// An index, manifest or configuration that is none, or contradicts itself.
    #[error("{what} {digest}: {reason}")]
    Document {
        /// What it should be.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive that is none, lacks something, or cannot be written.
    #[error("archive of images: {reason}")]
    Archive {
        /// What clients are answered with.
        kind: ErrorKind,
        /// What is wrong.
        reason: String,
    },
    /// A part of an image that is not in the store.
    #[error("{what} {digest}: not found in the content store; pull the image again, or say which platforms are wanted")]
    Missing {
        /// What it is.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// An image that is not made for any platform that is wanted.
    #[error("{image}: not for {wanted}; it is for {offered}")]
    NoPlatform {
        /// The image's name.
        image: String,
        /// The platforms that would do.
        wanted: String,
        /// The platforms that there are.
        offered: String,
    },
    /// Something that can be stored but not unpacked.
    #[error("unpack {digest}: {reason}; it can be fetched without unpacking")]
    NotAnImage {
        /// The manifest.
        digest: Digest,
        /// What it has instead.
        reason: String,
    },
    /// A part of this program failed that should not.
    #[error("{doing}: {source}")]
    Internal {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: BoxError,
    },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Archive { kind, .. } => *kind,
            Self::Fetch(error) => error.kind(),
            Self::Content(error) => error.kind(),
            Self::Snapshot(error) => error.kind(),
            Self::Layer { source, .. } => source.kind(),
            Self::DiffId { .. } | Self::Document { .. } => ErrorKind::InvalidArgument,
            Self::NoPlatform { .. } | Self::Missing { .. } => ErrorKind::NotFound,
            Self::NotAnImage { .. } => ErrorKind::Unimplemented,
            Self::Internal { .. } => ErrorKind::Internal,
        }
    }
}

impl From<wharf_diff::Error> for Error {
    /// For archives: a layer's errors say which layer.
    fn from(error: wharf_diff::Error) -> Self {
        let reason = error.to_string();
        Self::Archive { kind: error.kind(), reason: reason.strip_prefix("layer: ").unwrap_or(&reason).to_owned() }
    }
}
