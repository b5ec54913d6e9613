//! Registries: resolve a reference, fetch what it names, push what it is to name.
//!
//! It speaks the OCI distribution specification and Docker's registry protocol, and hands out descriptors and streams of
//! bytes. It promises bounded memory whatever a registry sends, a deadline on every wait, and that credentials reach the host
//! they were given for and no other. It knows no store, no snapshot and no image record, and never verifies blobs: who
//! stores them does, while they stream.

//!
//! ```no_run
//! use wharf_fetch::{Config, RegistryResolver, Resolver as _};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let resolver = RegistryResolver::new(Config::default())?;
//! let reference = "busybox".parse()?;
//! let target = resolver.resolve(&reference).await?;
//! let bytes = resolver.fetcher(&reference)?.fetch(&target, 0).await?;
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod auth;
mod blob;
mod client;
pub mod config;
pub mod error;
pub mod hosts;
pub mod manifest;
mod push;
mod resolver;
mod retry;
mod sending;
mod upload;

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
pub use config::{Anonymous, Config, CredentialSource, Credentials, Retries, Scheme, Secret, Timeouts};
pub use error::{Error, Result};
use futures::Stream;
pub use resolver::RegistryResolver;
use wharf_types::{Descriptor, Reference};

/// Finds what references stand for.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The descriptor of the index or manifest that `reference` names now.
    ///
    /// # Errors
    /// `NotFound`, `Unauthenticated`, `PermissionDenied`, or `Unavailable` when the registry cannot be reached.
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor>;

    /// A fetcher for the repository of `reference`.
    ///
    /// # Errors
    /// When the registry's configuration cannot be used.
    fn fetcher(&self, reference: &Reference) -> Result<Arc<dyn Fetcher>>;

    /// A pusher to the repository of `reference`.
    ///
    /// # Errors
    /// When the registry's configuration cannot be used.
    fn pusher(&self, reference: &Reference) -> Result<Arc<dyn Pusher>>;
}

/// Fetches blobs and manifests of one repository.
#[async_trait]
pub trait Fetcher: Send + Sync {
    /// The bytes of `target` from `offset` on. The stream resumes by itself after a cut connection, as often as makes
    /// progress, and ends with an error when fewer or more bytes come than the descriptor says.
    ///
    /// # Errors
    /// `NotFound`, `Unauthenticated`, `PermissionDenied`, `OutOfRange`, or `Unavailable`.
    async fn fetch(&self, target: &Descriptor, offset: u64) -> Result<ByteStream>;
}

/// Brings blobs and manifests to one repository. What a manifest names has to be there before it.
#[async_trait]
pub trait Pusher: Send + Sync {
    /// Has a blob in the repository: it is there, or another repository of the registry has it (one of `repositories` may),
    /// or `source` is sent. What a cut connection has brought over is not sent again where the registry keeps it.
    ///
    /// # Errors
    /// `Unauthenticated`, `PermissionDenied`, `Unavailable`; those of `source`.
    async fn blob(&self, target: &Descriptor, repositories: &[String], source: Arc<dyn Source>) -> Result<Pushed>;

    /// Has an index or a manifest in the repository: by its digest, or `named` as the reference says.
    ///
    /// # Errors
    /// As [`Pusher::blob`]; `InvalidArgument` when the reference has another digest, and when the registry does not take
    /// the manifest, for example because it lacks what it names.
    async fn manifest(&self, target: &Descriptor, bytes: Bytes, named: bool) -> Result<Pushed>;
}

/// The bytes of a blob that is pushed. They may be asked for several times.
pub trait Source: Send + Sync {
    /// All bytes from `offset` on.
    fn read(&self, offset: u64) -> ByteStream;
}

/// How something came to be in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Exists,
    /// The registry had it in this repository.
    Mounted(String),
    /// It was sent.
    Sent,
}

/// Bytes as they come from a registry.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
