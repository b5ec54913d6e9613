//! Pull and push: the only place where registries meet the stores.
//!
//! A [`Puller`] promises that memory is bounded whatever an image's size, that each blob is verified while it streams and
//! unpacked without being read back, and that an interrupted pull goes on from what is there. It makes no image record: it
//! returns what the name stands for, and whoever called makes the record. A [`Pusher`] promises that a registry is sent only what it
//! lacks, and a name only after all that it stands for. An [`Exporter`] writes images as one archive, of which an [`Importer`]
//! takes in all or nothing.
//!
//! One layer goes through two threads: one hashes and writes it as it came, the other inflates, hashes and extracts it. Both
//! are fed by the same bytes through channels of a few pieces each, so that the slower one holds back the registry and nothing
//! piles up. The layers of one image are extracted side by side where the snapshotter can stack them later, and become
//! visible together. Where it cannot, the lowest missing one is extracted on its way and the others from the store, in
//! their order.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use wharf_content::LocalStore;
//! use wharf_diff::LayerApplier;
//! use wharf_fetch::{Config, RegistryResolver};
//! use wharf_snapshot::overlay::OverlaySnapshotter;
//! use wharf_transfer::{Options, Puller};
//! use wharf_types::{Labels, Platform};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let snapshots = Arc::new(OverlaySnapshotter::open("/var/lib/wharf/overlayfs")?);
//! let puller = Puller {
//!     resolver: Arc::new(RegistryResolver::new(Config::default())?),
//!     content: Arc::new(LocalStore::open("/var/lib/wharf/content")?),
//!     applier: Arc::new(LayerApplier::new()),
//!     unpack: Some(("overlayfs".into(), snapshots)),
//! };
//! let platforms = vec![Platform::host()];
//! let options = Options { platforms, all_platforms: false, all_metadata: false, concurrency: 4, labels: Labels::new() };
//! let pulled = puller.pull(&"busybox".parse()?, &options, Arc::new(|_| {})).await?;
//! println!("{}", pulled.target.digest);
//! # Ok(())
//! # }
//! ```

mod blob;
mod document;
pub mod error;
mod export;
mod extract;
mod feed;
mod graph;
mod import;
mod keep;
mod labels;
mod layers;
mod progress;
mod pull;
mod push;
mod stack;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::sync::Arc;

pub use error::{Error, Result};
pub use export::Exporter;
pub use import::{Imported, Importer};
pub use push::Pusher;
use wharf_content::ContentStore;
use wharf_diff::Applier;
use wharf_fetch::Resolver;
use wharf_snapshot::Snapshotter;
use wharf_types::{Descriptor, Digest, Labels, Platform, Reference};

/// The ends that a pull joins.
#[derive(Clone)]
pub struct Puller {
    /// Where images come from.
    pub resolver: Arc<dyn Resolver>,
    /// Where blobs go.
    pub content: Arc<dyn ContentStore>,
    /// How layers are extracted.
    pub applier: Arc<dyn Applier>,
    /// Where layers go: the snapshotter's name, which labels carry, and the snapshotter. Nothing to fetch only.
    pub unpack: Option<(String, Arc<dyn Snapshotter>)>,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// Platforms in order of preference; the manifests that match are fetched (the best one where an index offers several).
    pub platforms: Vec<Platform>,
    /// Fetches every platform that an index lists instead.
    pub all_platforms: bool,
    /// Fetches manifests and configurations of the platforms too that are not wanted.
    pub all_metadata: bool,
    /// How many layers are under way at once.
    pub concurrency: usize,
    /// Labels that each blob is to have beside those of the collector.
    pub labels: Labels,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What the reference stands for: an index or a manifest.
    pub target: Descriptor,
    /// The chain ID of the unpacked image, where one was unpacked: the name of its committed snapshot.
    pub chain_id: Option<Digest>,
}

/// Takes progress. It is called from several threads and must not block.
pub type Report = Arc<dyn Fn(Progress) + Send + Sync>;

/// Something that happened in a transfer.
#[derive(Clone, Debug)]
pub enum Progress {
    /// The reference was resolved.
    Resolved(Reference, Descriptor),
    /// A blob is there already.
    Exists(Descriptor),
    /// So many bytes of a blob have come in all.
    Fetched(Descriptor, u64),
    /// A blob is verified and stored.
    Stored(Descriptor),
    /// So many bytes of a blob were handed over to a registry in all.
    Sending(Descriptor, u64),
    /// A registry has taken a blob or a document.
    Sent(Descriptor),
    /// A layer is being unpacked: bytes of its compressed form that were taken.
    Unpacking(Descriptor, u64),
    /// A layer is extracted.
    Unpacked(Descriptor),
    /// The image is unpacked, durably, under this chain ID.
    Committed(Digest),
}
