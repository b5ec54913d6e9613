//! A blob's labels, in a file of JSON beside it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::SystemTime;

use wharf_types::{Digest, Labels};

use super::disk::{self, At as _, Durability};
use super::layout::Layout;
use crate::{Error, Result};

/// Refuses labels that are too long.
pub(super) fn validate(labels: &Labels) -> Result<()> {
    wharf_types::labels::validate(labels).map_err(|error| Error::Invalid(error.to_string()))
}

/// The labels in the file at `path` and when they were written. No file, an empty one or one that is no JSON: no labels.
pub(super) fn read(path: &Path) -> Result<(Labels, Option<SystemTime>)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Labels::new(), None)),
        Err(error) => return Err(error).at("open labels", path),
    };
    let changed_at = file.metadata().and_then(|found| found.modified());
    let changed_at = changed_at.at("look at labels", path)?;
    let mut text = Vec::new();
    // What cannot be read now is not the same as no labels: whoever follows labels would collect what they name.
    file.read_to_end(&mut text).at("read labels", path)?;
    Ok((serde_json::from_slice(&text).unwrap_or_default(), Some(changed_at)))
}

/// Puts `labels` in the place of what was there, all or nothing; an empty map is written too, for its time.
pub(super) fn write(layout: &Layout, digest: &Digest, labels: &Labels, durability: Durability) -> Result<()> {
    let path = layout.labels(digest);
    let directory = layout.all_labels(digest.algorithm());
    let text = serde_json::to_vec(labels).map_err(|error| disk::io_error("encode labels", &path, error.into()))?;
    disk::replace(&path, &layout.unfinished(&directory), &text, durability)?;
    durability.directory(&directory)
}

/// Removes the file at `path`, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove labels", path),
        _ => Ok(()),
    }
}
