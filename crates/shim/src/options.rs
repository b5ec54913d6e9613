//! The options of the runc family of shims (containerd.runc.v1.Options), and where they are remembered.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::{Deserialize, Serialize};
use wharf_api::containerd::runc::v1 as runc;
use wharf_runtime::{Children, Runc};

use crate::error::{Error, Result};

/// The file in the bundle that a `delete` after our death reads.
const FILE: &str = "options.json";

/// What can be said about how a container is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// The runtime's name or path; `runc` when empty.
    pub(crate) binary: String,
    /// The runtime's state directory without the namespace; beside the daemon's socket when empty.
    pub(crate) root: PathBuf,
    pub(crate) systemd_cgroup: bool,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    /// The cgroup that the shim itself joins.
    pub(crate) shim_cgroup: String,
    /// The owner of the pipes that the container writes.
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
}

impl Options {
    /// Reads options of a type we know; `None` for any other.
    pub(crate) fn parse(any: &prost_types::Any) -> Option<Self> {
        if !any.type_url.ends_with("containerd.runc.v1.Options") {
            return None;
        }
        let options = runc::Options::decode(any.value.as_slice()).ok()?;
        Some(Self {
            binary: options.binary_name,
            root: options.root.into(),
            systemd_cgroup: options.systemd_cgroup,
            no_pivot: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: options.shim_cgroup,
            io_uid: options.io_uid,
            io_gid: options.io_gid,
        })
    }

    /// The options of a create request.
    ///
    /// # Errors
    /// `InvalidArgument` when they do not parse; options of other types are none of ours and leave the defaults.
    pub(crate) fn of_request(any: Option<&prost_types::Any>) -> Result<Self> {
        let Some(any) = any else { return Ok(Self::default()) };
        match Self::parse(any) {
            Some(options) => Ok(options),
            None if any.type_url.ends_with("containerd.runc.v1.Options") => {
                Err(Error::invalid("the runtime options are no containerd.runc.v1.Options, though they say so"))
            }
            None => Ok(Self::default()),
        }
    }

    /// The runtime that these options name, for the container of a bundle. `state` is the directory of the daemon's socket.
    pub(crate) fn runtime(&self, bundle: &Path, state: &Path, namespace: &str, children: &Children) -> Runc {
        let binary = if self.binary.is_empty() { "runc" } else { &self.binary };
        let root = if self.root.as_os_str().is_empty() { state.join("runc") } else { self.root.clone() };
        let runtime = Runc::new(binary, root.join(namespace), children.clone());
        runtime.in_bundle(bundle).systemd_cgroup(self.systemd_cgroup)
    }

    /// Remembers the options in a bundle.
    pub(crate) fn save(&self, bundle: &Path) -> Result<()> {
        let file = bundle.join(FILE);
        let json = serde_json::to_vec(self).map_err(|e| Error::invalid(format!("runtime options: {e}")))?;
        fs::write(&file, json).map_err(Error::io(format!("writing {}", file.display())))
    }

    /// The options remembered in a bundle; the defaults when there are none.
    pub(crate) fn load(bundle: &Path) -> Self {
        fs::read(bundle.join(FILE)).ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
    }
}
