//! Mounts that are made for clients, under a name that others find them by, and taken away again (containerd: `core/mount`).
//!
//! It promises that a name stands for mounts that are there, that what fails midway leaves nothing mounted, and that nothing is
//! ever deleted through a mount. It never decides how long mounts live: the records of [`wharf_metadata`] and their collector do.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wharf_metadata::Activations;
//! use wharf_mount::{Activate, MountManager, Mounts};
//! use wharf_types::{Mount, Namespace};
//!
//! # fn example(records: Arc<dyn Activations>) -> wharf_mount::Result<()> {
//! let mounts = Mounts::open("/run/wharf/mounts", records)?;
//! let default: Namespace = "default".parse().expect("a namespace");
//! let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() };
//! let asked = Activate { name: "scratch".into(), mounts: vec![tmpfs], temporary: true, ..Activate::default() };
//! let active = mounts.activate(&default, asked)?;
//! println!("mounted at {}", active.active[0].point);
//! mounts.deactivate(&default, "scratch")
//! # }
//! ```

mod busy;
mod error;
mod manager;
mod place;
mod plan;
mod template;
#[cfg(test)]
mod tests;

pub use error::{Error, Result};
pub use manager::Mounts;
use wharf_metadata::Activation;
use wharf_types::{Filters, Labels, Mount, Namespace};

/// What a client wants mounted.
#[derive(Clone, Debug, Default)]
pub struct Activate {
    /// The name, unique in its namespace.
    pub name: String,
    /// The mounts, bottom first.
    pub mounts: Vec<Mount>,
    /// All of them are mounted, and a bind mount of the last is what is left for the client.
    pub temporary: bool,
    /// Labels of the record.
    pub labels: Labels,
    /// The lease that keeps it.
    pub lease: Option<String>,
}

/// True when some of `mounts` are none that the kernel, or who mounts for a container, knows: they are for a [`MountManager`].
#[must_use]
pub fn is_needed(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| plan::is_ours(&mount.kind))
}

/// Mounts for clients. All calls block.
pub trait MountManager: Send + Sync {
    /// Mounts what only this side can, or everything where it is `temporary`, and says what is left to mount.
    ///
    /// # Errors
    /// `Unimplemented` when the client can mount all of it without us; `AlreadyExists`; `InvalidArgument` for a template that cannot be
    /// filled in; `NotFound` for a lease that there is not; the kernel's reason. Nothing is mounted then.
    fn activate(&self, ns: &Namespace, asked: Activate) -> Result<Activation>;
    /// Unmounts, the last one first.
    ///
    /// # Errors
    /// `NotFound`; the kernel's reason, after which the name is free and the next sweep tries again.
    fn deactivate(&self, ns: &Namespace, name: &str) -> Result<()>;
    /// What is mounted under a name.
    ///
    /// # Errors
    /// `NotFound`.
    fn info(&self, ns: &Namespace, name: &str) -> Result<Activation>;
    /// What is mounted under all names that `filters` match (fields: `name`, `labels.*`).
    ///
    /// # Errors
    /// When the records cannot be read.
    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Activation>>;
}
