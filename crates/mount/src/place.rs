//! One activation's directory: a mount point, or a link to a loop device, for each mount, named by its number from the bottom.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use wharf_sys::loops::{self, Attach, LoopDevice};
use wharf_sys::{Error, mount};
use wharf_types::Mount;

use crate::plan::LOOP;

type Result<T> = std::result::Result<T, Error>;

/// The option that has a file mounted as the filesystem it holds.
const AS_LOOP: &str = "loop";

/// Mounts `what` as the one with this number, and says where.
pub(crate) fn add(place: &Path, number: usize, what: &Mount) -> Result<PathBuf> {
    let point = place.join(number.to_string());
    if what.kind == LOOP {
        let how = Attach { read_only: what.is_read_only(), until_unused: true };
        // The device goes with us until there is a link that tells of it.
        let device = LoopDevice::attach(&what.source, &tag(&point), how)?;
        std::os::unix::fs::symlink(device.path(), &point).map_err(|e| Error::io("link", &point, e))?;
        device.keep()?;
        return Ok(point);
    }
    make(&point)?;
    if !what.options.iter().any(|option| option == AS_LOOP) {
        mount::mount(what, &point)?;
        return Ok(point);
    }
    let how = Attach { read_only: what.is_read_only(), until_unused: true };
    let device = LoopDevice::attach(&what.source, &tag(&point), how)?;
    let mut what = what.clone();
    what.options.retain(|option| option != AS_LOOP);
    what.source = device.path().display().to_string();
    mount::mount(&what, &point)?;
    Ok(point)
}

/// True while what was mounted at `point` is there.
pub(crate) fn is_there(point: &Path) -> Result<bool> {
    match fs::read_link(point) {
        Ok(device) => loops::is_attached(device, &tag(point)),
        Err(_) => mount::is_mount_point(point),
    }
}

/// Takes away everything in an activation's directory, the last mount first, and the directory. Only what is empty is removed.
pub(crate) fn clear(place: &Path) -> Result<()> {
    let mut numbers = match numbers(place) {
        Ok(numbers) => numbers,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", place, error)),
    };
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    for number in numbers {
        let point = place.join(number.to_string());
        if let Ok(device) = fs::read_link(&point) {
            loops::detach(device, &tag(&point))?;
            fs::remove_file(&point).map_err(|e| Error::io("remove", &point, e))?;
        } else {
            mount::unmount_all(&point)?;
            remove(&point)?;
        }
    }
    remove(place)
}

/// The names in a directory that are numbers.
pub(crate) fn numbers(place: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(place)? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
    }
    Ok(numbers)
}

/// Makes a directory for its owner alone.
pub(crate) fn make(path: &Path) -> Result<()> {
    DirBuilder::new().mode(0o700).create(path).map_err(|e| Error::io("make directory", path, e))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// What a device is known by: its link's path, which no other one ever has.
fn tag(point: &Path) -> String {
    point.display().to_string()
}
