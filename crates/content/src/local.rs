//! The store in a directory.
//!
//! ```text
//! blobs/<algorithm>/<hex>          a blob, mode 0444, its time of change is the time of its commit
//! labels/<algorithm>/<hex>.json    the blob's labels; absent when it never had any
//! ingest/<sha256 of the reference> data, ref, startedat, and total and expected where they are known
//! ```
//!
//! The bytes of an ingest are synced when it is committed, not before. After the power was cut an ingest may have lost bytes
//! or have zeros among them: it is resumed with what is there, and its digest tells at the commit.
//!
//! Names that begin with a dot are unfinished work and are removed by the next [`LocalStore::open`]. Files in `blobs`
//! whose names are no digests are ignored, and so is what is no regular file, links above all, and directories in `ingest`
//! that this store did not name. A label file that is empty or no JSON counts as one without labels: a blob stays usable
//! whatever happens to what is written beside it.
//!
//! One process has a root open at a time; whoever starts the process sees to that.

mod disk;
mod hash;
mod ingest;
mod labels;
mod layout;
mod locks;
mod reader;
mod sweep;
mod writer;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use wharf_types::{Digest, Filters, LabelChange};

use disk::At as _;
pub use disk::Durability;
use layout::Layout;
use locks::Locks;

use crate::{ContentStore, Error, Info, Ingest, Reader, Result, Status, Writer};

/// A store of blobs in a directory. Clones share one store.
#[derive(Clone, Debug)]
pub struct LocalStore {
    shared: Arc<Shared>,
}

/// What the store and its writers share.
#[derive(Debug)]
struct Shared {
    layout: Layout,
    durability: Durability,
    /// Directory names of ingests that have a writer.
    references: Locks<String>,
    /// Blobs that are being committed, deleted or labelled.
    digests: Locks<Digest>,
}

impl LocalStore {
    /// Opens the store under `root`, which is created where it is missing, and sweeps what a crash left behind. Commits
    /// return once the blob is on disk.
    ///
    /// # Errors
    /// When the directories cannot be created or read.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(root, Durability::Synced)
    }

    /// Like [`LocalStore::open`], for a store whose bytes may be lost with the power.
    ///
    /// # Errors
    /// When the directories cannot be created or read.
    pub fn open_with(root: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        let layout = Layout::new(root.as_ref());
        layout.create(durability)?;
        sweep::sweep(&layout)?;
        let (references, digests) = (Locks::default(), Locks::default());
        Ok(Self { shared: Arc::new(Shared { layout, durability, references, digests }) })
    }
}

impl Shared {
    fn exists(&self, digest: &Digest) -> Result<bool> {
        let path = self.layout.blob(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) => Ok(found.is_file()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("look for blob", &path),
        }
    }

    fn info(&self, digest: &Digest) -> Result<Info> {
        let path = self.layout.blob(digest);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Err(Error::NotFound(digest.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound(digest.clone()));
            }
            Err(error) => return Err(error).at("look at blob", &path),
        };
        let created_at = found.modified().at("read the time of blob", &path)?;
        let (labels, changed_at) = labels::read(&self.layout.labels(digest))?;
        let updated_at = changed_at.map_or(created_at, |changed| changed.max(created_at));
        Ok(Info { digest: digest.clone(), size: found.len(), created_at, updated_at, labels })
    }
}

impl ContentStore for LocalStore {
    fn info(&self, digest: &Digest) -> Result<Info> {
        self.shared.info(digest)
    }

    fn update(&self, digest: &Digest, change: &LabelChange) -> Result<Info> {
        let _held = self.shared.digests.hold(digest);
        let mut labels = self.shared.info(digest)?.labels;
        change.apply(&mut labels);
        labels::validate(&labels)?;
        labels::write(&self.shared.layout, digest, &labels, self.shared.durability)?;
        self.shared.info(digest)
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        for algorithm in layout::ALGORITHMS {
            for name in disk::names(&self.shared.layout.blobs(algorithm))? {
                let Some(digest) = layout::digest_of(algorithm, &name) else { continue };
                match self.shared.info(&digest) {
                    Ok(info) if filters.matches(&info) => visit(info)?,
                    // One that was deleted since its directory was read is no part of the walk.
                    Ok(_) | Err(Error::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        let _held = self.shared.digests.hold(digest);
        let path = self.shared.layout.blob(digest);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotFound(digest.clone()));
            }
            Err(error) => return Err(error).at("remove blob", &path),
        }
        // The blob first: labels without a blob are swept, a blob that lost its labels might be collected.
        labels::remove(&self.shared.layout.labels(digest))
    }

    fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        let path = self.shared.layout.blob(digest);
        let file = disk::open_regular(&path).at("open blob", &path)?;
        let file = file.ok_or_else(|| Error::NotFound(digest.clone()))?;
        Ok(Box::new(reader::FileReader::whole(file, &path)?))
    }

    fn writer(&self, ingest: &Ingest) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::FileWriter::open(self.shared.clone(), ingest)?))
    }

    fn status(&self, reference: &str) -> Result<Status> {
        ingest::status(&self.shared.layout.ingest(reference))?.ok_or_else(|| Error::NoIngest(reference.to_owned()))
    }

    fn statuses(&self, filters: &Filters) -> Result<Vec<Status>> {
        let mut found = Vec::new();
        for name in disk::names(&self.shared.layout.ingests())? {
            if !layout::is_ingest(&name) {
                continue;
            }
            let status = ingest::status(&self.shared.layout.ingests().join(&name))?;
            found.extend(status.filter(|status| filters.matches(status)));
        }
        Ok(found)
    }

    fn abort(&self, reference: &str) -> Result<()> {
        if ingest::discard(&self.shared.layout, reference)? {
            Ok(())
        } else {
            Err(Error::NoIngest(reference.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
