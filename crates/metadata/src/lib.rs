//! Namespaced records in one embedded transactional database: namespaces, images, containers, leases, and the namespaces'
//! views of content and snapshots; and the collector that follows containerd's labels through them.
//!
//! It promises that a record is on disk when a call returns, that readers never wait for writers or the collector, and that
//! whatever a record, a lease or a label holds on to is not collected. It never fetches, unpacks or runs anything.
//!
//! [`Database`] opens the file; [`Namespaces`], [`Images`], [`Containers`], [`Sandboxes`], [`Activations`] and [`Leases`] are its traits; the views
//! of [`wharf_content::ContentStore`] and [`wharf_snapshot::Snapshotter`] wrap the stores behind them.
//!
//! All calls block; an asynchronous program calls them from threads of its own.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wharf_content::LocalStore;
//! use wharf_metadata::{Database, Images};
//! use wharf_snapshot::{Snapshotter, overlay::OverlaySnapshotter};
//! use wharf_types::{Filters, Namespace};
//!
//! let content = Arc::new(LocalStore::open("/var/lib/wharf/content")?);
//! let overlay: Arc<dyn Snapshotter> = Arc::new(OverlaySnapshotter::open("/var/lib/wharf/overlayfs")?);
//! let database = Database::open("/var/lib/wharf/meta.db", content, [("overlayfs".to_owned(), overlay)].into())?;
//!
//! let default: Namespace = "default".parse()?;
//! for image in Images::list(&database, &default, &Filters::all())? {
//!     let manifest = database.content(&default, None).reader(&image.target.digest)?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activations;
mod codec;
mod containers;
mod content;
mod database;
pub mod error;
mod fields;
mod gc;
mod holds;
mod images;
mod leases;
mod namespaces;
mod object;
pub mod records;
mod rows;
mod sandboxes;
mod snapshots;
#[cfg(test)]
mod tests;

pub use activations::Activations;
pub use database::{Change, Clock, Database, Options, Sharing};
pub use error::{Error, Result};
pub use gc::Collected;
pub use object::{Object, ObjectKind};
pub use records::{Activation, ActiveMount, Container, Image, Lease, NamespaceRecord, Resource, Runtime, Sandbox};
pub use sandboxes::Sandboxes;
use wharf_types::{Filters, Labels, Namespace};

/// Namespaces and their labels.
pub trait Namespaces: Send + Sync {
    /// One namespace.
    ///
    /// # Errors
    /// `NotFound`.
    fn get(&self, name: &Namespace) -> Result<NamespaceRecord>;
    /// All namespaces, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self) -> Result<Vec<NamespaceRecord>>;
    /// Makes a namespace. (Writing any record in a namespace makes it too.)
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument` for a label that is too long.
    fn create(&self, name: &Namespace, labels: &Labels) -> Result<()>;
    /// Changes labels. (As any record does, a label makes the namespace that it is written in.)
    ///
    /// # Errors
    /// `InvalidArgument` for a label that is too long.
    fn update(&self, name: &Namespace, change: &wharf_types::LabelChange) -> Result<NamespaceRecord>;
    /// Removes an empty namespace.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` while anything is inside, saying what.
    fn delete(&self, name: &Namespace) -> Result<()>;
}

/// Names of images and what they stand for.
pub trait Images: Send + Sync {
    /// One image.
    ///
    /// # Errors
    /// `NotFound`.
    fn get(&self, ns: &Namespace, name: &str) -> Result<Image>;
    /// All images that `filters` match (fields: `name`, `target.digest`, `target.mediatype`, `labels.*`), by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Image>>;
    /// Makes an image record; its times are set here.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument`.
    fn create(&self, ns: &Namespace, image: Image) -> Result<Image>;
    /// Changes an image record. `paths` are those of a field mask (`labels`, `labels.x`, `target`, `annotations`…); none replaces
    /// everything that may change.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for a path that cannot change.
    fn update(&self, ns: &Namespace, image: Image, paths: &[String]) -> Result<Image>;
    /// Removes an image record, only while it stands for `target` where one is given.
    ///
    /// # Errors
    /// `NotFound`, also when the target is another.
    fn delete(&self, ns: &Namespace, name: &str, target: Option<&wharf_types::Digest>) -> Result<()>;
}

/// Records of containers.
pub trait Containers: Send + Sync {
    /// One container.
    ///
    /// # Errors
    /// `NotFound`.
    fn get(&self, ns: &Namespace, id: &str) -> Result<Container>;
    /// Calls `visit` for each container that `filters` match (fields: `id`, `image`, `runtime.name`, `labels.*`, …), by id.
    ///
    /// # Errors
    /// The first error of `visit` ends the walk and is returned.
    fn walk(&self, ns: &Namespace, filters: &Filters, visit: &mut dyn FnMut(Container) -> Result<()>) -> Result<()>;
    /// Makes a container record; its times are set here.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument`.
    fn create(&self, ns: &Namespace, container: Container) -> Result<Container>;
    /// Changes a container record. `paths` are those of a field mask (`labels`, `labels.x`, `spec`, `extensions`, `image`,
    /// `snapshot_key`…); none replaces everything that may change.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for a path that cannot change.
    fn update(&self, ns: &Namespace, container: Container, paths: &[String]) -> Result<Container>;
    /// Removes a container record.
    ///
    /// # Errors
    /// `NotFound`.
    fn delete(&self, ns: &Namespace, id: &str) -> Result<()>;
}

/// Leases: what they name is not collected while they live.
pub trait Leases: Send + Sync {
    /// Makes a lease.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument`.
    fn create(&self, ns: &Namespace, id: &str, labels: &Labels) -> Result<Lease>;
    /// Removes a lease; what it held may be collected then.
    ///
    /// # Errors
    /// `NotFound`.
    fn delete(&self, ns: &Namespace, id: &str) -> Result<()>;
    /// All leases that `filters` match (fields: `id`, `labels.*`), by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Lease>>;
    /// Has a lease hold something; what is not there yet may be named too.
    ///
    /// # Errors
    /// `NotFound` when there is no such lease; `Unimplemented` for a type that is not leased.
    fn add(&self, ns: &Namespace, id: &str, resource: &Resource) -> Result<()>;
    /// Has a lease let go of something.
    ///
    /// # Errors
    /// `NotFound` when there is no such lease.
    fn remove(&self, ns: &Namespace, id: &str, resource: &Resource) -> Result<()>;
    /// What a lease holds.
    ///
    /// # Errors
    /// `NotFound`.
    fn resources(&self, ns: &Namespace, id: &str) -> Result<Vec<Resource>>;
}
