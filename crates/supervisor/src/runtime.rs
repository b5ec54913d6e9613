//! From a runtime's name to the program that is its shim.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, DEFAULT_RUNTIME};
use crate::error::{Error, Result};

/// The shim of a runtime: `io.containerd.NAME.vN` is `containerd-shim-NAME-vN`, beside the daemon or else on PATH.
///
/// # Errors
/// `InvalidArgument` for a name that is none; `NotFound`, saying where the shim was looked for.
pub(crate) fn shim_of(config: &Config, runtime: &str) -> Result<PathBuf> {
    let runtime = if runtime.is_empty() { DEFAULT_RUNTIME } else { runtime };
    let served_by = config.runtimes.get(runtime).map_or(runtime, String::as_str);
    if served_by.starts_with('/') {
        return absolute(runtime, Path::new(served_by));
    }
    let program = program_of(served_by).ok_or_else(|| Error::RuntimeName(runtime.to_owned()))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A relative entry would mean the daemon's working directory: nothing is found there.
    let on_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let looked: Vec<_> = config.shim_dirs.iter().cloned().chain(on_path).collect();
    let found = looked.iter().map(|dir| dir.join(&program)).find(|path| is_executable(path));
    found.ok_or_else(|| Error::NoRuntime { runtime: runtime.to_owned(), program, looked })
}

fn absolute(runtime: &str, path: &Path) -> Result<PathBuf> {
    if is_executable(path) {
        return Ok(path.to_owned());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let looked = path.parent().map(Path::to_owned).into_iter().collect();
    Err(Error::NoRuntime { runtime: runtime.to_owned(), program: name, looked })
}

/// The last two words of the name make the program's (containerd: `pkg/shim.BinaryName`).
fn program_of(runtime: &str) -> Option<String> {
    let plain =
        |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let words: Vec<_> = runtime.split('.').collect();
    match words.as_slice() {
        [_, .., name, version] if words.iter().all(plain) => Some(format!("containerd-shim-{name}-{version}")),
        [name, version] if words.iter().all(plain) => Some(format!("containerd-shim-{name}-{version}")),
        _ => None,
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use wharf_types::{ErrorKind, Kind as _};

    use super::*;

    fn config(dir: &Path) -> Config {
        Config::new(dir, dir, "", "", vec![dir.to_owned()])
    }

    fn install(dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn names_lead_to_programs() {
        let dir = tempfile::tempdir().unwrap();
        let ours = install(dir.path(), "containerd-shim-wharf-v1");
        let kata = install(dir.path(), "containerd-shim-kata-v2");
        let mut config = config(dir.path());
        for name in ["", "io.containerd.wharf.v1", "io.containerd.runc.v2", ours.to_str().unwrap()] {
            assert_eq!(shim_of(&config, name).unwrap(), ours, "{name}");
        }
        assert_eq!(shim_of(&config, "io.containerd.kata.v2").unwrap(), kata);
        config.runtimes.insert("io.containerd.runc.v2".into(), "io.containerd.kata.v2".into());
        assert_eq!(shim_of(&config, "io.containerd.runc.v2").unwrap(), kata);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("containerd-shim-plain-v1"), "not executable").unwrap();
        for name in ["io.containerd.nonsense.v9", "io.containerd.plain.v1", "/nowhere/containerd-shim-x-v1"] {
            let error = shim_of(&config(dir.path()), name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(error.to_string().contains(name) && error.to_string().contains("containerd-shim-"), "{error}");
        }
        for name in ["runc", "../evil", "a/b.v1", "io..v1", "io.containerd.../x.v1"] {
            assert_eq!(shim_of(&config(dir.path()), name).unwrap_err().kind(), ErrorKind::InvalidArgument, "{name}");
        }
    }
}
