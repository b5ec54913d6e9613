//! [`LayerApplier`]: extracts layers into directories and overlays.
//!
//! # Where the files go
//! - **A bind mount**: into its source. Whiteouts delete what was there before the layer.
//! - **An overlay with an `upperdir` alone**: into that directory, which must be empty, in overlayfs' form: a whiteout is a
//!   character device 0:0, an opaque directory has the attribute `trusted.overlay.opaque` (`user.overlay.opaque` with the
//!   option `userxattr`). The layers below are not known then, so a layer that cannot be understood without them is refused
//!   with [`Error::NeedsParents`]: throw the tree away and extract the layer again, onto its mounted parent.
//! - **Everything else** is mounted in a private place for the time of the call and treated as a directory.
//!
//! A whiteout hides what is in the layers below, never what its own layer brings, in whatever order they come (OCI image
//! specification, "Whiteouts").

mod adopt;
mod entry;
mod meta;
pub(crate) mod name;
mod remove;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
mod tree;
mod trouble;
mod whiteout;

use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};

use tree::{Form, Tree};
use wharf_sys::mount::TempMount;
use wharf_types::Mount;

use crate::archive::{Reader, Source};
use crate::inflate::{self, Compression, Tap};
use crate::{Applied, Applier, Error, Result};

/// Extracts layers: tar, by itself or compressed with gzip or zstd.
///
/// ```no_run
/// use wharf_diff::{Applier, LayerApplier};
/// use wharf_types::Mount;
///
/// let tree = Mount { kind: "bind".into(), source: "/tmp/tree".into(), options: vec!["rbind".into()], ..Mount::default() };
/// let mut layer = std::fs::File::open("layer.tar.gz")?;
/// let applied = LayerApplier::new().apply(&mut layer, "application/vnd.oci.image.layer.v1.tar+gzip", &[tree])?;
/// println!("{}", applied.diff_id);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerApplier {
    max_bytes: u64,
    max_entries: u64,
}

impl Default for LayerApplier {
    fn default() -> Self {
        Self::new()
    }
}

impl LayerApplier {
    /// An applier without bounds.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(u64::MAX, u64::MAX)
    }

    /// An applier that refuses layers of more than `max_bytes` after inflation, or of more than `max_entries` entries, with
    /// [`Error::Limit`].
    #[must_use]
    pub fn with_limits(max_bytes: u64, max_entries: u64) -> Self {
        Self { max_bytes, max_entries }
    }

    fn extract(&self, layer: &mut dyn Read, compression: Compression, mut tree: Tree) -> Result<Applied> {
        let failed = Cell::new(false);
        let (diff_id, size) = {
            let inflated =
                inflate::open(Tap::new(layer, &failed), compression).map_err(|source| match failed.get() {
                    true => Error::Io { doing: "read the layer".into(), source },
                    false => Error::Malformed { reason: source.to_string() },
                })?;
            let mut reader = Reader::new(Source::new(inflated, &failed, self.max_bytes));
            let mut entries = 0u64;
            while let Some(entry) = reader.next()? {
                entries += 1;
                if entries > self.max_entries {
                    return Err(Error::Limit { limit: self.max_entries, of: "entries" });
                }
                tree.apply(&entry, &mut reader)?;
            }
            reader.into_source().finish()?
        };
        // What inflates to nothing more may still hold bytes that the caller digests.
        std::io::copy(layer, &mut std::io::sink())
            .map_err(|source| Error::Io { doing: "read the layer".into(), source })?;
        let implied = tree.finish()?;
        Ok(Applied { diff_id, size, implied })
    }
}

impl Applier for LayerApplier {
    fn apply(&self, layer: &mut dyn Read, media_type: &str, mounts: &[Mount]) -> Result<Applied> {
        let compression = Compression::of(media_type)?;
        match Target::of(mounts)? {
            Target::Upper { dir, userxattr } => {
                self.extract(layer, compression, Tree::open(dir, Some(Form::Upper { userxattr }))?)
            }
            Target::Directory(dir) => self.extract(layer, compression, Tree::open(dir, None)?),
            Target::Mounts => {
                let mounted = TempMount::new(mounts).map_err(|e| Error::Mounts(e.to_string()))?;
                let applied = self.extract(layer, compression, Tree::open(mounted.path(), None)?)?;
                mounted.close().map_err(|e| Error::Mounts(e.to_string()))?;
                Ok(applied)
            }
        }
    }

    fn adopt(&self, mounts: &[Mount], implied: &[PathBuf], parents: &[PathBuf]) -> Result<()> {
        match Target::of(mounts)? {
            Target::Upper { dir, userxattr } => adopt::adopt(dir, userxattr, implied, parents),
            // There the layers below were in sight.
            Target::Directory(_) | Target::Mounts => Ok(()),
        }
    }
}

/// How mounts are extracted into.
#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Directory(&'a Path),
    Upper { dir: &'a Path, userxattr: bool },
    Mounts,
}

impl<'a> Target<'a> {
    fn of(mounts: &'a [Mount]) -> Result<Self> {
        if mounts.is_empty() {
            return Err(Error::Mounts("none are given to extract into".into()));
        }
        if mounts.last().is_some_and(Mount::is_read_only) {
            return Err(Error::Mounts("they are read-only, a layer cannot be extracted into them".into()));
        }
        let [mount] = mounts else { return Ok(Self::Mounts) };
        let bind = mount.kind == "bind" || mount.options.iter().any(|o| o == "bind" || o == "rbind");
        if bind && mount.target.is_empty() {
            return Ok(Self::Directory(Path::new(&mount.source)));
        }
        match mount.option("upperdir") {
            Some(dir) if mount.kind == "overlay" && !below(mount) => {
                let userxattr = mount.options.iter().any(|o| o == "userxattr");
                Ok(Self::Upper { dir: Path::new(dir), userxattr })
            }
            _ => Ok(Self::Mounts),
        }
    }
}

/// True for an overlay that names what it lies over.
fn below(mount: &Mount) -> bool {
    mount.options.iter().any(|o| o.starts_with("lowerdir=") || o.starts_with("lowerdir+="))
}
