//! Removing what a crash left behind.

use std::fs;
use std::path::Path;

use super::layout::{self, ALGORITHMS, Layout};
use super::{disk, ingest};
use crate::Result;

/// Removes unfinished work, ingests that nobody could resume, and labels of blobs that are not there. What cannot be
/// removed is left for the next time: it stands in nobody's way.
pub(super) fn sweep(layout: &Layout) -> Result<()> {
    for name in disk::names(&layout.ingests())? {
        let path = layout.ingests().join(&name);
        if name.starts_with('.') || layout::is_ingest(&name) && matches!(ingest::status(&path), Ok(None)) {
            remove(&path);
        }
    }
    for algorithm in ALGORITHMS {
        for name in disk::names(&layout.all_labels(algorithm))? {
            let digest = name.strip_suffix(".json").and_then(|hex| layout::digest_of(algorithm, hex));
            let orphan = digest.is_some_and(|digest| !layout.blob(&digest).exists());
            if name.starts_with('.') || orphan {
                remove(&layout.all_labels(algorithm).join(&name));
            }
        }
    }
    Ok(())
}

/// Removes a file, or a directory with all that is in it, without following a link.
fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        let _ = fs::remove_dir_all(path);
    }
}
