//! What lies where, and that nobody else is there.

use std::fs::{self, DirBuilder, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wharf_sys::fs::Lock;

/// The file that says who is at work in a directory.
const LOCK: &str = "wharfd.lock";

/// The root and state directories, held for as long as this lives.
pub(crate) struct Directories {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    _locks: [Lock; 2],
}

impl Directories {
    /// Makes both and takes them, or says who holds them. The root is its owner's alone; the state directory can be passed
    /// through, so that a user's process inside of a bundle finds its own files.
    pub(crate) fn take(root: &Path, state: &Path) -> Result<Self> {
        make(root, 0o700)?;
        make(state, 0o711)?;
        let locks = [take(root)?, take(state)?];
        let absolute = |path: &Path| fs::canonicalize(path).with_context(|| format!("resolve {}", path.display()));
        Ok(Self { root: absolute(root)?, state: absolute(state)?, _locks: locks })
    }

    /// A directory of one part below the root.
    pub(crate) fn part(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        make(&path, 0o700)?;
        Ok(path)
    }

    /// The daemon's name for itself: made up once, the same for as long as the root lives.
    pub(crate) fn uuid(&self) -> Result<String> {
        let path = self.part("io.containerd.grpc.v1.introspection")?.join("uuid");
        if let Ok(text) = fs::read_to_string(&path)
            && uuid::Uuid::parse_str(text.trim()).is_ok()
        {
            return Ok(text.trim().to_owned());
        }
        let (uuid, new) = (uuid::Uuid::new_v4().to_string(), path.with_extension("new"));
        let written = fs::File::create(&new).and_then(|mut file| {
            file.write_all(uuid.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.with_context(|| format!("write {}", path.display()))?;
        Ok(uuid)
    }
}

fn take(directory: &Path) -> Result<Lock> {
    Lock::acquire(directory.join(LOCK)).with_context(|| format!("another daemon is at work in {}", directory.display()))
}

/// Makes a directory with this mode, whatever the umask is, and whatever mode it had.
fn make(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("make directory {}", path.display()))?;
    let set = fs::set_permissions(path, Permissions::from_mode(mode));
    set.with_context(|| format!("set the mode of directory {}", path.display()))
}
