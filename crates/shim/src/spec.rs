//! The few facts of a bundle's `config.json` that a shim needs.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Component, Path};

use serde::Deserialize;

use crate::error::{Error, Result};

/// The annotations that put several containers into one shim, the first that is there counting.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// A shallow view of the OCI runtime specification.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    annotations: HashMap<String, String>,
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Namespace>,
    cgroups_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    r#type: String,
    path: String,
}

impl Spec {
    /// Reads a bundle's specification.
    ///
    /// # Errors
    /// When it is missing or is no JSON of that shape.
    pub(crate) fn load(bundle: &Path) -> Result<Self> {
        let path = bundle.join("config.json");
        let file = File::open(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        serde_json::from_reader(BufReader::new(file))
            .map_err(|e| Error::invalid(format!("{} is not an OCI runtime specification: {e}", path.display())))
    }

    /// The group whose shim serves this container: its own id unless an annotation says otherwise.
    pub(crate) fn group<'a>(&'a self, id: &'a str) -> &'a str {
        GROUPS.iter().find_map(|g| self.annotations.get(*g)).filter(|g| !g.is_empty()).map_or(id, String::as_str)
    }

    /// The container's cgroup below the root of each hierarchy, where the specification names one that way; systemd's
    /// `slice:prefix:name` is systemd's own to remove.
    pub(crate) fn cgroup(&self) -> Option<&Path> {
        let path = Path::new(&self.linux.as_ref()?.cgroups_path);
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        (path.is_absolute() && path.components().count() > 1 && path.components().all(plain)).then_some(path)
    }

    /// True when the first process's end ends all others, because it is the init of a pid namespace of its own.
    pub(crate) fn has_own_pid_namespace(&self) -> bool {
        let mut namespaces = self.linux.iter().flat_map(|l| &l.namespaces);
        namespaces.any(|n| n.r#type == "pid" && n.path.is_empty())
    }
}
