//! Where everything lies.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wharf_types::Digest;
use wharf_types::digest::Algorithm;

use super::disk::{At as _, Durability};
use crate::Result;

/// The algorithms that have directories.
pub(super) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// The directories of one store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    unfinished: AtomicU64,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), unfinished: AtomicU64::new(0) }
    }

    /// Creates what is missing, and makes the names durable: a synced blob in a directory that the power took is lost too.
    pub(super) fn create(&self, durability: Durability) -> Result<()> {
        let mut directories = vec![self.ingests()];
        for algorithm in ALGORITHMS {
            directories.push(self.blobs(algorithm));
            directories.push(self.all_labels(algorithm));
        }
        for directory in &directories {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).at("create directory", directory)?;
        }
        for directory in [self.root.join("blobs"), self.root.join("labels"), self.root.clone()] {
            durability.directory(&directory)?;
        }
        // A relative root of one name has the empty path for its parent.
        match self.root.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => durability.directory(parent),
            _ => Ok(()),
        }
    }

    pub(super) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn all_labels(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("labels").join(algorithm.name())
    }

    pub(super) fn labels(&self, digest: &Digest) -> PathBuf {
        self.all_labels(digest.algorithm()).join(format!("{}.json", digest.hex()))
    }

    pub(super) fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(super) fn ingest(&self, reference: &str) -> PathBuf {
        self.ingests().join(ingest_name(reference))
    }

    /// A name in `directory` that nothing has and the next sweep removes.
    pub(super) fn unfinished(&self, directory: &Path) -> PathBuf {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        directory.join(format!(".{number}"))
    }
}

/// The directory of a reference's ingest: a reference may be any text, a file's name may not.
pub(super) fn ingest_name(reference: &str) -> String {
    Digest::of(reference.as_bytes()).hex().to_owned()
}

/// The digest that a file in `blobs` is named after, if it is named after one.
pub(super) fn digest_of(algorithm: Algorithm, name: &str) -> Option<Digest> {
    format!("{}:{name}", algorithm.name()).parse().ok()
}

/// True for names that [`ingest_name`] may have made.
pub(super) fn is_ingest(name: &str) -> bool {
    digest_of(Algorithm::Sha256, name).is_some()
}
