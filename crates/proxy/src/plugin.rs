//! The connection to a plugin, and how a call on it is waited for.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use wharf_types::Namespace;

use crate::Refusal;

/// The most bytes of one message, both ways.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;

/// How long a call may take unless [`Plugin::deadline`] says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// A program that serves containerd's services on a unix socket. Clones share its connection.
#[derive(Clone)]
pub struct Plugin {
    name: String,
    socket: PathBuf,
    handle: Handle,
    channel: Channel,
    namespace: Option<MetadataValue<Ascii>>,
    deadline: Duration,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Plugin {
    /// The plugin `name` at `socket`, with its connection on `handle`'s runtime. Nothing is connected yet; a connection that
    /// breaks is made again by the next call.
    #[must_use]
    pub fn new(name: impl Into<String>, socket: impl AsRef<Path>, handle: &Handle) -> Self {
        let socket = socket.as_ref().to_owned();
        let path = socket.clone();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let _inside = handle.enter();
        // The URI is never looked at: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost").connect_timeout(CONNECT);
        let channel = endpoint.connect_with_connector_lazy(connector);
        Self { name: name.into(), socket, handle: handle.clone(), channel, namespace: None, deadline: DEADLINE }
    }

    /// The same connection, with calls that end after `deadline`; of a stream, each message has it.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same connection, with calls in a namespace: what a plugin needs that is a whole containerd. Others ignore it.
    #[must_use]
    pub fn in_namespace(self, namespace: &Namespace) -> Self {
        // An identifier is printable ASCII.
        Self { namespace: MetadataValue::try_from(namespace.as_str()).ok(), ..self }
    }

    /// The name that it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A request that carries the namespace.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(namespace) = &self.namespace {
            request.metadata_mut().insert("containerd-namespace", namespace.clone());
        }
        request
    }

    /// Waits for a call, at most until the deadline; it is cancelled then.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        doing: impl Into<String>,
        call: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let deadline = self.deadline;
        self.handle.spawn(async move {
            let late = || Status::deadline_exceeded(format!("no answer within {deadline:?}"));
            let answer = tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| Err(late()));
            // Nobody waits any more: then nobody wants to know.
            let _ = tell.send(answer);
        });
        // The task always answers, unless its runtime ends.
        let ended = Status::unavailable("this program is stopping");
        told.recv().unwrap_or(Err(ended)).map_err(|status| Refusal::new(self, doing.into(), &status))
    }

    pub(crate) fn place(&self) -> String {
        format!("proxy plugin {} at {}", self.name, self.socket.display())
    }
}
