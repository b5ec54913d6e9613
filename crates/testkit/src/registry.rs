//! An OCI distribution registry on loopback, over plain HTTP, that can misbehave. It serves and takes images.
//!
//! It speaks HTTP/1.1 by itself, because half of what it is for (wrong lengths, connections cut in the middle, headers
//! byte by byte) is what no HTTP library sends.
//!
//! ```
//! use wharf_testkit::image::Image;
//! use wharf_testkit::registry::{Auth, Fault, Registry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let registry = Registry::start().await?;
//! let image = Image::of_binary("\x7fELF", "/hello");
//! let descriptor = registry.put_image("demo/hello", "latest", &image);
//! assert_eq!(registry.reference("demo/hello", "latest"), format!("{}/demo/hello:latest", registry.addr()));
//!
//! registry.set_auth(Auth::basic("ann", "secret"));
//! registry.set_fault(&image.layers[0].digest, Fault::CutAfter(100)).times(2);
//! // … pull …
//! assert_eq!(registry.served(&descriptor.digest), 0);
//! # Ok(())
//! # }
//! ```

mod answer;
pub mod auth;
mod connection;
pub mod fault;
mod upload;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use auth::Auth;
pub use fault::{Fault, FaultHandle, On, Throttle};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use wharf_types::{Descriptor, Digest};

use crate::image::{Blob, Image, Index};

/// A registry that serves until it is dropped; clients that are connected then are cut off.
#[derive(Debug)]
pub struct Registry {
    addr: SocketAddr,
    state: Shared,
    task: JoinHandle<()>,
}

type Shared = Arc<Mutex<State>>;

/// What the registry holds; every request looks at it once, before its answer is sent.
#[derive(Debug, Default)]
struct State {
    /// By repository and digest. Blobs and manifests share this map.
    blobs: HashMap<(String, Digest), Blob>,
    /// By repository and tag.
    tags: HashMap<(String, String), Digest>,
    /// What has come of blobs that are being pushed, by the upload's number.
    uploads: HashMap<u64, Vec<u8>>,
    /// Uploads are refused that bring more in one request.
    max_piece: Option<usize>,
    faults: fault::Faults,
    throttle: Throttle,
    auth: Auth,
    tokens: auth::Tokens,
    requests: Vec<Request>,
}

/// A request that was answered, or whose answer was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// What follows `?`, empty when nothing does.
    pub query: String,
    /// All headers in the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// A form's body.
    pub body: String,
    /// How many bytes a body had.
    pub received: u64,
    /// The status it was answered with; 0 when the answer had none.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
}

impl Request {
    /// The first value of a header, its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Registry {
    /// Starts an empty registry without authentication on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no socket can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let addr = listener.local_addr()?;
        let state = Shared::default();
        let task = tokio::spawn(accept(listener, addr, state.clone()));
        Ok(Self { addr, state, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The registry's part of a reference: `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// An image's full reference on this registry.
    #[must_use]
    pub fn reference(&self, repository: &str, tag: &str) -> String {
        format!("{}/{repository}:{tag}", self.addr)
    }

    /// Its origin: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Puts an image under a tag and returns its manifest's descriptor.
    pub fn put_image(&self, repository: &str, tag: &str, image: &Image) -> Descriptor {
        self.put_parts(repository, image);
        self.tag(repository, tag, &image.manifest)
    }

    /// Puts an index and all of its images under a tag and returns the index' descriptor.
    pub fn put_index(&self, repository: &str, tag: &str, index: &Index) -> Descriptor {
        for image in &index.images {
            self.put_parts(repository, image);
        }
        self.tag(repository, tag, &index.blob)
    }

    fn put_parts(&self, repository: &str, image: &Image) {
        for blob in image.layers.iter().chain([&image.config, &image.manifest]) {
            self.put_blob(repository, blob);
        }
    }

    /// Puts any bytes under their digest; they can be had as a blob and as a manifest.
    pub fn put_blob(&self, repository: &str, blob: &Blob) {
        self.state().blobs.insert((repository.to_owned(), blob.digest.clone()), blob.clone());
    }

    /// Puts any bytes, which need not be a manifest, under a tag.
    pub fn tag(&self, repository: &str, tag: &str, manifest: &Blob) -> Descriptor {
        self.put_blob(repository, manifest);
        self.state().tags.insert((repository.to_owned(), tag.to_owned()), manifest.digest.clone());
        manifest.descriptor()
    }

    /// Forgets a blob, which is then answered with 404.
    pub fn remove_blob(&self, repository: &str, digest: &Digest) {
        self.state().blobs.remove(&(repository.to_owned(), digest.clone()));
    }

    /// The bytes of a blob or a manifest that a repository has.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: &Digest) -> Option<Blob> {
        self.state().blobs.get(&(repository.to_owned(), digest.clone())).cloned()
    }

    /// What a tag stands for.
    #[must_use]
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.state().tags.get(&(repository.to_owned(), tag.to_owned())).cloned()
    }

    /// Refuses requests that bring more than this of a blob, with 413.
    pub fn set_max_piece(&self, bytes: usize) {
        self.state().max_piece = Some(bytes);
    }

    /// From now on asks for this. Tokens that were given out no longer count.
    pub fn set_auth(&self, auth: Auth) {
        let mut state = self.state();
        state.auth = auth;
        state.tokens = auth::Tokens::default();
    }

    /// Makes all tokens that were given out invalid, as if their time were over.
    pub fn expire_tokens(&self) {
        self.state().tokens.expire();
    }

    /// How many tokens were given out since [`Registry::set_auth`].
    #[must_use]
    pub fn tokens_issued(&self) -> usize {
        self.state().tokens.issued()
    }

    /// Answers requests for `on` (a digest, a part of a path, or [`On::All`]) with a fault from now on. Of several
    /// faults that fit, the one that was set first and is not used up counts.
    pub fn set_fault(&self, on: impl Into<On>, fault: Fault) -> FaultHandle {
        self.state().faults.add(on.into(), fault)
    }

    /// Behaves well again.
    pub fn clear_faults(&self) {
        self.state().faults = fault::Faults::default();
    }

    /// Slows all answers down.
    pub fn set_throttle(&self, throttle: Throttle) {
        self.state().throttle = throttle;
    }

    /// All requests since the start or since [`Registry::forget_requests`], the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Empties [`Registry::requests`], and with it what [`Registry::served`] counts.
    pub fn forget_requests(&self) {
        self.state().requests.clear();
    }

    /// How many bytes were sent in answer to requests that name `digest`.
    #[must_use]
    pub fn served(&self, digest: &Digest) -> u64 {
        let name = digest.to_string();
        self.state().requests.iter().filter(|request| request.path.ends_with(&name)).map(|request| request.sent).sum()
    }

    /// How many bytes of blobs were sent in all.
    #[must_use]
    pub fn served_blobs(&self) -> u64 {
        self.state()
            .requests
            .iter()
            .filter(|request| request.path.contains("/blobs/"))
            .map(|request| request.sent)
            .sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections live in a set of this task and end with it.
async fn accept(listener: TcpListener, addr: SocketAddr, state: Shared) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Small writes are to arrive when they are made.
        let _ = stream.set_nodelay(true);
        connections.spawn(connection::serve(stream, addr, state.clone()));
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
