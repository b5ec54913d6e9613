//! An ingest's directory.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use super::disk::{self, At as _, Durability};
use super::layout::{self, Layout};
use crate::{Error, Ingest, Result, Status};

/// The most bytes a reference may have; also the most that are read of a file beside the data.
const MAX_REFERENCE: usize = 4096;

/// Where the ingest in the directory `path` stands; nothing when there is none, or none that could be resumed: its data
/// is gone, or its reference is not the one that the directory is named after.
pub(super) fn status(path: &Path) -> Result<Option<Status>> {
    let data = path.join("data");
    let found = match fs::symlink_metadata(&data) {
        Ok(found) if found.is_file() => found,
        Ok(_) => return Ok(None),
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error).at("look at", &data),
    };
    let Some(reference) = text(&path.join("ref"))? else { return Ok(None) };
    if path.file_name().is_none_or(|name| *name != *layout::ingest_name(&reference)) {
        return Ok(None);
    }
    let updated_at = found.modified().at("read the time of", &data)?;
    // A lost time is no reason to lose the bytes.
    let started_at = fs::metadata(path.join("startedat")).and_then(|found| found.modified()).unwrap_or(updated_at);
    Ok(Some(Status {
        reference,
        offset: found.len(),
        total: text(&path.join("total"))?.and_then(|text| text.parse().ok()),
        expected: text(&path.join("expected"))?.and_then(|text| text.parse().ok()),
        started_at,
        // The kernel's clock for files is coarse: it may stand a few milliseconds before ours.
        updated_at: updated_at.max(started_at),
    }))
}

/// Begins an ingest. It appears whole or not at all.
pub(super) fn begin(layout: &Layout, ingest: &Ingest) -> Result<File> {
    let path = layout.ingest(&ingest.reference);
    let unfinished = layout.unfinished(&layout.ingests());
    let write = |name: &str, text: &str| fs::write(unfinished.join(name), text);
    let begin = || -> io::Result<File> {
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        write("ref", &ingest.reference)?;
        File::create(unfinished.join("startedat"))?.set_modified(SystemTime::now())?;
        if let Some(total) = ingest.total {
            write("total", &total.to_string())?;
        }
        if let Some(expected) = &ingest.expected {
            write("expected", &expected.to_string())?;
        }
        let data = disk::create(&unfinished.join("data"))?;
        fs::rename(&unfinished, &path)?;
        Ok(data)
    };
    begin().inspect_err(|_| drop(fs::remove_dir_all(&unfinished))).at("begin ingest in", &path)
}

/// Opens the data of an ingest that was begun, and writes down what has become known since.
pub(super) fn resume(layout: &Layout, begun: &mut Status, ingest: &Ingest) -> Result<File> {
    if let (Some(begun), Some(asked)) = (begun.total, ingest.total)
        && begun != asked
    {
        return Err(Error::OtherTotal { reference: ingest.reference.clone(), begun, asked });
    }
    let path = layout.ingest(&ingest.reference);
    let note = |name: &str, text: String| {
        let unfinished = layout.unfinished(&layout.ingests());
        disk::replace(&path.join(name), &unfinished, text.as_bytes(), Durability::Unsynced)
    };
    if let (None, Some(total)) = (begun.total, ingest.total) {
        note("total", total.to_string())?;
        begun.total = ingest.total;
    }
    if let Some(expected) = ingest.expected.as_ref().filter(|new| begun.expected.as_ref() != Some(new)) {
        note("expected", expected.to_string())?;
        begun.expected = ingest.expected.clone();
    }
    let data = path.join("data");
    // A commit that a crash cut short may have made it read-only.
    fs::set_permissions(&data, Permissions::from_mode(0o600))
        .and_then(|()| OpenOptions::new().read(true).write(true).open(&data))
        .at("open", &data)
}

/// Removes the ingest of a reference at once, and says whether there was one.
pub(super) fn discard(layout: &Layout, reference: &str) -> Result<bool> {
    let path = layout.ingest(reference);
    let unfinished = layout.unfinished(&layout.ingests());
    match fs::rename(&path, &unfinished) {
        Ok(()) => {
            let _ = fs::remove_dir_all(&unfinished);
            Ok(true)
        }
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error).at("remove ingest", &path),
    }
}

/// A short text in a file; nothing when it is absent, too long or no text.
fn text(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let bound = MAX_REFERENCE as u64 + 1;
    match File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes)) {
        Ok(length) if length <= MAX_REFERENCE => Ok(String::from_utf8(bytes).ok()),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Refuses references that are empty or longer than [`MAX_REFERENCE`].
pub(super) fn check_reference(reference: &str) -> Result<()> {
    match reference.len() {
        0 => Err(Error::Invalid("an ingest needs a reference".to_owned())),
        1..=MAX_REFERENCE => Ok(()),
        length => Err(Error::Invalid(format!("an ingest's reference has {length} bytes, {MAX_REFERENCE} are allowed"))),
    }
}
