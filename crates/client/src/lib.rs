//! A client of the containerd API, for `wharfd` and for containerd itself.
//!
//! [`Client`] promises that each call carries the namespace (and the lease, where there is one), that errors keep the server's
//! words and kind, and that dropping a future cancels its call. It never touches the server's files; what a process prints
//! comes through fifos ([`io`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), wharf_client::Error> {
//! use wharf_client::{Client, NewContainer, PullOptions, io::Io};
//!
//! let client = Client::connect("/run/wharf/wharf.sock", "default").await?;
//! let image = client.pull("docker.io/library/busybox:latest", &PullOptions::default(), |_| {}).await?;
//! let container = client.create_container(NewContainer::new("hello", &image).command(["echo", "hello"])).await?;
//! let (task, mut output) = container.create_task(Io::piped()?).await?;
//! task.start().await?;
//! let printed = output.stdout_to_end().await?;
//! let exit = task.wait().await?;
//! println!("{} and exit status {}", String::from_utf8_lossy(&printed), exit.status);
//! task.delete().await?;
//! container.delete().await?;
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod container;
pub mod error;
pub mod events;
pub mod image;
pub mod io;
pub mod lease;
pub mod pull;
pub mod push;
pub mod services;
pub mod spec;
pub mod task;
pub mod user;

use std::path::{Path, PathBuf};

pub use archive::ImportOptions;
pub use container::{Container, NewContainer};
pub use error::{Error, Result};
pub use image::Image;
pub use lease::Lease;
pub use pull::{PullOptions, PullProgress};
pub use push::PushOptions;
pub use task::{Exit, Task};
use tonic::transport::{Channel, Endpoint};

/// The most bytes that a message may have, both ways.
pub const MAX_MESSAGE: usize = 16 << 20;

/// A connection to a server, and the namespace that its calls are made in. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    namespace: String,
    lease: Option<String>,
}

impl Client {
    /// Connects to the server that listens on the unix socket `address`.
    ///
    /// # Errors
    /// [`Error::Connect`] when nobody answers there.
    pub async fn connect(address: impl AsRef<Path>, namespace: &str) -> Result<Self> {
        let address: PathBuf = address.as_ref().to_owned();
        let refused = |source| Error::Connect { address: address.clone(), source };
        // The URI is never looked at: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost");
        let path = address.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { tokio::net::UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(refused)?;
        Ok(Self { channel, namespace: namespace.to_owned(), lease: None })
    }

    /// The same connection in another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), lease: None, ..self.clone() }
    }

    /// The same connection under a lease: what its calls make is kept while the lease lives.
    #[must_use]
    pub fn under_lease(&self, lease: &str) -> Self {
        Self { lease: Some(lease.to_owned()), ..self.clone() }
    }

    /// The namespace that calls are made in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The server's version and revision.
    ///
    /// # Errors
    /// The server's own.
    pub async fn version(&self) -> Result<(String, String)> {
        let answer =
            self.version_service().version(()).await.map_err(Error::during("ask for the version"))?.into_inner();
        Ok((answer.version, answer.revision))
    }
}
