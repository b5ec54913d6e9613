//! [`LayerComparer`]: writes what makes one tree of another as a layer.
//!
//! # What is a change
//! Of two files of one path, type, mode, owner, attributes, device number and target of a link are compared, and, but for
//! directories, size and time; of files whose time has no fraction of a second, which an archive may have cut off, the
//! contents too. The root itself is never in a layer. Sockets are not either: what they hide is deleted.
//!
//! # How the trees are read
//! - **Where the upper tree is the lower one's overlay and one directory more**, that directory alone is read, against the
//!   lower tree: the work is that of what changed. A directory that is opaque there gets an opaque marker.
//! - **Everywhere else**, and where overlayfs has left data or names of that directory elsewhere (`metacopy`, `redirect`,
//!   hard links by an index), both trees are walked, in the order of their names.
//!
//! Neither tree is ever mounted for writing, and no link in them is followed. A tree that changes meanwhile makes the call
//! fail, or its changes are in the layer or not, file by file.

mod file;
mod layer;
mod same;
mod sides;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
mod upper;
mod walk;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use layer::Layer;
use rustix::fs::{self, Mode, OFlags};
use wharf_sys::mount::TempMount;
use wharf_types::{Mount, media};

use crate::archive::Time;
use crate::deflate::Sink;
use crate::{Compared, Comparer, Comparison, Error, Result};

/// Compares directories, overlays, and everything else that can be mounted.
///
/// ```no_run
/// use wharf_diff::{Comparer, Comparison, LayerComparer};
/// use wharf_types::Mount;
///
/// let tree = |path: &str| Mount { kind: "bind".into(), source: path.into(), options: vec!["rbind".into()], ..Mount::default() };
/// let mut layer = Vec::new();
/// let compared =
///     LayerComparer::new().compare(&[tree("/tmp/before")], &[tree("/tmp/after")], &Comparison::default(), &mut layer)?;
/// println!("{} {}", compared.media_type, compared.diff_id);
/// # Ok::<(), wharf_diff::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerComparer(());

impl LayerComparer {
    /// A comparer.
    #[must_use]
    pub fn new() -> Self {
        Self(())
    }
}

impl Comparer for LayerComparer {
    fn compare(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        wanted: &Comparison,
        layer: &mut dyn Write,
    ) -> Result<Compared> {
        let media_type = if wanted.media_type.is_empty() { media::OCI_LAYER_GZIP } else { &wanted.media_type };
        let compression =
            media::layer_compression(media_type).ok_or_else(|| Error::MediaType(media_type.to_owned()))?;
        if upper.is_empty() {
            return Err(Error::Mounts("none are given of the tree that a layer is to make".into()));
        }
        let failed = |source| Error::Io { doing: "write the layer".into(), source };
        let sink = Sink::new(layer, compression).map_err(failed)?;
        let lower_mount = mount(lower)?;
        let lower_root = lower_mount.as_ref().map(|mount| open(mount.path())).transpose()?;
        let sink = match sides::difference(lower, upper) {
            Some(side) if upper::is_plain(&side)? => {
                let root = open(&side.dir)?;
                walk::walk(lower_root.as_ref(), &root, Some(side.userxattr), new_layer(sink, &root, wanted))?
            }
            _ => {
                let upper_mount = mount(upper)?;
                let upper_root = upper_mount.as_ref().map(|mount| open(mount.path())).transpose()?;
                let root = upper_root.as_ref().ok_or_else(|| Error::Mounts("the upper tree is none".into()))?;
                let sink = walk::walk(lower_root.as_ref(), root, None, new_layer(sink, root, wanted))?;
                drop(upper_root);
                close(upper_mount)?;
                sink
            }
        };
        drop(lower_root);
        close(lower_mount)?;
        let (diff_id, size) = sink.finish().map_err(failed)?;
        Ok(Compared { media_type: media_type.to_owned(), diff_id, size })
    }
}

fn new_layer<'a, 'r>(sink: Sink<'a>, root: &'r OwnedFd, wanted: &Comparison) -> Layer<'a, 'r> {
    Layer::new(sink, root, wanted.source_date_epoch.map(time))
}

/// Mounts for reading; nothing where there are no mounts.
fn mount(mounts: &[Mount]) -> Result<Option<TempMount>> {
    if mounts.is_empty() {
        return Ok(None);
    }
    TempMount::new(&sides::read_only(mounts)).map(Some).map_err(|e| Error::Mounts(e.to_string()))
}

fn close(mount: Option<TempMount>) -> Result<()> {
    mount.map_or(Ok(()), TempMount::close).map_err(|e| Error::Mounts(e.to_string()))
}

fn open(path: &Path) -> Result<OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Io { doing: format!("open {path:?} to compare it"), source: errno.into() })
}

fn time(time: SystemTime) -> Time {
    let seconds = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { seconds: seconds(since.as_secs()), nanos: since.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            let whole = -seconds(before.as_secs());
            match before.subsec_nanos() {
                0 => Time { seconds: whole, nanos: 0 },
                nanos => Time { seconds: whole - 1, nanos: 1_000_000_000 - nanos },
            }
        }
    }
}
