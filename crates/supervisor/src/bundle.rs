//! The directory that a container is created from, and what the daemon keeps in it.
//!
//! `<state>/io.containerd.runtime.v2.task/<namespace>/<id>/`, laid out as containerd does. It is made under a name that no
//! identifier can have and then renamed, and goes the same way, so that a half one is never taken for a whole one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, RenameFlags};
use serde_json::Value;
use wharf_types::{Id, Namespace};

use crate::bootstrap::Endpoint;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::watch::Process;

/// containerd's directory of bundles below state and root.
pub(crate) const PLUGIN: &str = "io.containerd.runtime.v2.task";
/// containerd's directory of the bundles of sandboxes.
pub(crate) const SANDBOXES: &str = "io.containerd.sandbox.controller.v1.shim";
/// Names the shim's program.
pub(crate) const PROGRAM: &str = "shim-binary-path";
const ENDPOINT: &str = "bootstrap.json";
/// Where shims older than `bootstrap.json` write down where they serve.
const ADDRESS: &str = "address";
const PROCESS: &str = "shim.json";

/// A container's bundle.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) namespace: Namespace,
    pub(crate) id: Id,
    pub(crate) path: PathBuf,
    work: PathBuf,
}

impl Bundle {
    /// The bundle's place; whether it is there is another question.
    pub(crate) fn new(config: &Config, namespace: &Namespace, id: &Id) -> Self {
        Self::below(PLUGIN, config, namespace, id)
    }

    /// The place of a sandbox's bundle.
    pub(crate) fn of_sandbox(config: &Config, namespace: &Namespace, id: &Id) -> Self {
        Self::below(SANDBOXES, config, namespace, id)
    }

    /// The place of a bundle in one of the directories of bundles.
    pub(crate) fn below(plugin: &str, config: &Config, namespace: &Namespace, id: &Id) -> Self {
        let place = |base: &Path| base.join(plugin).join(namespace.as_str()).join(id.as_str());
        Self { namespace: namespace.clone(), id: id.clone(), path: place(&config.state), work: place(&config.root) }
    }

    /// Makes the bundle. Blocks.
    ///
    /// # Errors
    /// `AlreadyExists` when it is there; failures of the filesystem, after which nothing is left.
    pub(crate) fn make(&self, spec: &[u8], program: &Path) -> Result<()> {
        let draft = self.aside("new");
        self.sweep(&draft)?;
        let made = self.draft(&draft, spec, program).and_then(|()| {
            rustix::fs::renameat_with(CWD, &draft, CWD, &self.path, RenameFlags::NOREPLACE).map_err(|error| match error
            {
                rustix::io::Errno::EXIST => Error::AlreadyExists(self.id.to_string()),
                error => Error::io("make the bundle", &self.path, error),
            })
        });
        if made.is_err() {
            let _ = self.sweep(&draft);
        }
        made
    }

    fn draft(&self, draft: &Path, spec: &[u8], program: &Path) -> Result<()> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| Error::io("make", path, error)
        };
        for dir in [self.path.parent(), self.work.parent()].into_iter().flatten() {
            DirBuilder::new().recursive(true).mode(0o711).create(dir).map_err(failed(dir))?;
        }
        DirBuilder::new().mode(0o700).create(draft).map_err(failed(draft))?;
        admit_mapped_root(draft, spec).map_err(failed(draft))?;
        let rootfs = draft.join("rootfs");
        DirBuilder::new().mode(0o711).create(&rootfs).map_err(failed(&rootfs))?;
        self.sweep(&self.work)?;
        DirBuilder::new().mode(0o711).create(&self.work).map_err(failed(&self.work))?;
        symlink(&self.work, draft.join("work")).map_err(failed(&draft.join("work")))?;
        write(&draft.join("config.json"), spec)?;
        write(&draft.join(PROGRAM), program.as_os_str().as_encoded_bytes())?;
        let log = draft.join("log");
        rustix::fs::mknodat(CWD, &log, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .map_err(|error| Error::io("make the fifo", &log, error))
    }

    /// Removes the bundle and the work directory; it is no error when they are gone. Blocks.
    ///
    /// # Errors
    /// When something mounted below cannot be unmounted, or a file not be removed: the bundle keeps its name then.
    pub(crate) fn remove(&self) -> Result<()> {
        let rootfs = self.path.join("rootfs");
        if fs::symlink_metadata(&rootfs).is_ok_and(|meta| meta.is_dir()) {
            wharf_sys::mount::unmount_all(&rootfs)?;
        }
        let aside = self.aside("old");
        self.sweep(&aside)?;
        match fs::rename(&self.path, &aside) {
            Ok(()) => self.sweep(&aside)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("remove the bundle", &self.path, error)),
        }
        self.sweep(&self.work)
    }

    /// Where the shim serves, as it was kept, or as the shim itself wrote it down; `None` when it was never started.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let answer = fs::read(self.path.join(ENDPOINT)).or_else(|_| fs::read(self.path.join(ADDRESS))).ok()?;
        Endpoint::parse(&self.path, &answer).ok()
    }

    /// Keeps where the shim serves.
    ///
    /// # Errors
    /// Failures of the filesystem.
    pub(crate) fn keep_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        self.keep(ENDPOINT, &serde_json::to_vec(endpoint).unwrap_or_default())
    }

    /// The shim's process, as it was kept.
    pub(crate) fn process(&self) -> Option<Process> {
        serde_json::from_slice(&fs::read(self.path.join(PROCESS)).ok()?).ok()
    }

    /// Keeps the shim's process.
    ///
    /// # Errors
    /// Failures of the filesystem.
    pub(crate) fn keep_process(&self, process: Process) -> Result<()> {
        self.keep(PROCESS, &serde_json::to_vec(&process).unwrap_or_default())
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (draft, path) = (self.path.join(format!(".{name}")), self.path.join(name));
        write(&draft, bytes)?;
        fs::rename(&draft, &path).map_err(|error| Error::io("write", &path, error))
    }

    /// A name beside the bundle that no identifier can have.
    fn aside(&self, word: &str) -> PathBuf {
        self.path.with_file_name(format!(".{word}-{}", self.id))
    }

    fn sweep(&self, path: &Path) -> Result<()> {
        sweep(path)
    }
}

/// Removes a directory with all that is in it; it is no error when it is gone.
pub(crate) fn sweep(path: &Path) -> Result<()> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    Ok(wharf_sys::fs::remove_dir_all(path)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| Error::io("write", path, error))
}

/// Where a user namespace maps root to another group, that group may pass through the bundle (containerd: bundle_linux.go).
fn admit_mapped_root(bundle: &Path, spec: &[u8]) -> io::Result<()> {
    let spec: Value = serde_json::from_slice(spec).unwrap_or_default();
    let maps = spec.pointer("/linux/gidMappings").and_then(Value::as_array);
    let root = maps.into_iter().flatten().find(|map| map.get("containerID").and_then(Value::as_u64) == Some(0));
    let group = root.and_then(|map| map.get("hostID")?.as_u64()).and_then(|id| u32::try_from(id).ok());
    let Some(group) = group.filter(|group| *group != 0) else { return Ok(()) };
    std::os::unix::fs::chown(bundle, None, Some(group))?;
    fs::set_permissions(bundle, fs::Permissions::from_mode(0o710))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
