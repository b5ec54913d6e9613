//! The answering side: a listener, its connections, and a handler for each service.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::codec::{self, FLAG_REMOTE_OPEN, Head, Incoming, Kind};
use crate::envelope::{Request, Response, RpcStatus};
use crate::status::{Code, Status};
use crate::wire::{self, Reader};

/// The metadata key of the namespace that a call is about (containerd: `pkg/namespaces`).
pub const NAMESPACE_KEY: &str = "containerd-namespace-ttrpc";

/// Calls that one connection may have under way.
const MAX_CALLS: usize = 4096;

/// Answers that wait to be written, before a handler's task waits too.
const QUEUE: usize = 16;

/// How long calls under way may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How long accepting rests after the system had no descriptor or memory left for a connection.
const REST: Duration = Duration::from_millis(50);

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What came with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// What travelled beside the argument.
    pub metadata: Vec<(String, String)>,
    /// How long the caller waits; the server gives the call up by itself then.
    pub timeout: Option<Duration>,
}

impl Context {
    /// The value of a metadata key, the first where there are several.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The namespace that the call is about; `None` when it is missing or empty.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.get(NAMESPACE_KEY).filter(|namespace| !namespace.is_empty())
    }
}

/// A service.
pub trait Handler: Send + Sync {
    /// Answers one call; each runs in a task of its own. The future is dropped when the caller's time is over or its
    /// connection has ended, so what must not stop midway belongs into a task of the handler's.
    ///
    /// # Errors
    /// The status for the caller; [`Status::unknown_method`] for a method that there is not.
    fn call<'a>(&'a self, context: Context, method: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>>;
}

/// Services by name, ready to be served.
#[derive(Clone, Default)]
pub struct Server {
    services: HashMap<String, Arc<dyn Handler>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.services.keys()).finish()
    }
}

impl Server {
    /// A server without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service under its full name, such as `containerd.task.v3.Task`; one handler may stand under several.
    #[must_use]
    pub fn service(mut self, name: &str, handler: Arc<dyn Handler>) -> Self {
        self.services.insert(name.to_owned(), handler);
        self
    }

    /// Serves until `shutdown` resolves, then answers what is under way, for at most a second. An error of one connection,
    /// or a lack of descriptors, ends nothing else. Dropping the future ends all of it at once.
    pub async fn serve(self, listener: UnixListener, shutdown: impl Future<Output = ()>) {
        let server = Arc::new(self);
        let (stop, stopping) = watch::channel(());
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(Arc::clone(&server).connection(stream, stopping.clone()));
                    }
                    Err(_) => tokio::time::sleep(REST).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        drop(stop);
        let _ = tokio::time::timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    }

    /// Serves one connection that was accepted elsewhere, until the peer ends it or `stopping`'s sender is dropped.
    async fn connection(self: Arc<Self>, mut stream: UnixStream, mut stopping: watch::Receiver<()>) {
        let (reader, writer) = stream.split();
        let (answers, queue) = mpsc::channel(QUEUE);
        let read = async move {
            // With this the calls end too: the set aborts what it holds.
            let mut calls = Calls { server: self, answers, tasks: JoinSet::new(), last: 0 };
            let mut reader = Reader::new(reader);
            loop {
                tokio::select! {
                    incoming = reader.next() => match incoming {
                        Some(incoming) => calls.take(incoming).await,
                        None => return false,
                    },
                    Some(_) = calls.tasks.join_next() => {}
                    _ = stopping.changed() => break,
                }
            }
            while calls.tasks.join_next().await.is_some() {}
            true
        };
        let mut write = std::pin::pin!(wire::write_all(writer, queue));
        let stopped = tokio::select! {
            stopped = read => stopped,
            () = &mut write => false,
        };
        if stopped {
            // The last answers go out; a peer that is gone gets none.
            write.await;
        }
    }

    /// Calls the handler. A panic in it is this call's failure and no other's.
    async fn dispatch(&self, request: Request) -> Result<Vec<u8>, Status> {
        let Some(handler) = self.services.get(&request.service) else {
            return Err(Status::new(Code::Unimplemented, format!("service {}", request.service)));
        };
        let timeout = u64::try_from(request.timeout_nano).ok().filter(|t| *t > 0).map(Duration::from_nanos);
        let metadata = request.metadata.into_iter().map(|pair| (pair.key, pair.value)).collect();
        let method = request.method.as_str();
        let answer = caught(async { handler.call(Context { metadata, timeout }, method, request.payload).await });
        let answer = match timeout {
            None => answer.await,
            Some(timeout) => tokio::time::timeout(timeout, answer).await.map_err(|_| {
                Status::new(Code::DeadlineExceeded, format!("{}/{method} took more than {timeout:?}", request.service))
            })?,
        };
        answer.unwrap_or_else(|| Err(Status::new(Code::Internal, format!("{}/{method} panicked", request.service))))
    }
}

/// The calls of one connection.
struct Calls {
    server: Arc<Server>,
    answers: mpsc::Sender<Bytes>,
    tasks: JoinSet<()>,
    /// The stream opened last: numbers must grow.
    last: u32,
}

impl Calls {
    /// Begins a call, or answers at once why there is none.
    async fn take(&mut self, incoming: Incoming) {
        let (head, admitted) = match incoming {
            Incoming::Frame(head, bytes) => (head, self.admit(head, bytes)),
            Incoming::TooLong(head) => (head, Err(Status::too_long(head.length as usize))),
        };
        let answers = self.answers.clone();
        match admitted {
            Ok(request) => {
                let server = Arc::clone(&self.server);
                self.tasks.spawn(async move {
                    let outcome = server.dispatch(request).await;
                    let _ = answers.send(seal(head.stream, outcome)).await;
                });
            }
            Err(status) => {
                let _ = answers.send(seal(head.stream, Err(status))).await;
            }
        }
    }

    fn admit(&mut self, head: Head, bytes: Bytes) -> Result<Request, Status> {
        let invalid = |words: &str| Err(Status::new(Code::InvalidArgument, words));
        if head.stream.is_multiple_of(2) {
            return invalid("StreamID must be odd for client initiated streams");
        }
        match head.kind {
            Kind::Request if head.stream <= self.last => {
                return invalid("StreamID cannot be re-used and must increment");
            }
            Kind::Request => self.last = head.stream,
            Kind::Response | Kind::Data => return invalid("StreamID is no longer active"),
        }
        if head.flags & FLAG_REMOTE_OPEN != 0 {
            return Err(Status::new(Code::Unimplemented, "ttrpc: only unary calls are served"));
        }
        if self.tasks.len() >= MAX_CALLS {
            let words = format!("ttrpc: {MAX_CALLS} calls are under way on this connection");
            return Err(Status::new(Code::ResourceExhausted, words));
        }
        Request::decode(bytes)
            .map_err(|error| Status::new(Code::InvalidArgument, format!("unmarshal request error: {error}")))
    }
}

/// The frame of an outcome.
fn seal(stream: u32, outcome: Result<Vec<u8>, Status>) -> Bytes {
    let failed = |status: Status| Response {
        status: Some(RpcStatus { code: status.code.into(), message: status.message }),
        payload: Bytes::new(),
    };
    let response = match outcome {
        Ok(payload) => Response { status: None, payload: payload.into() },
        Err(status) => failed(status),
    };
    codec::encode(stream, Kind::Response, &response)
        .or_else(|too_long| codec::encode(stream, Kind::Response, &failed(too_long)))
        .unwrap_or_default()
}

/// The future's output, or `None` when it panicked.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        // The future is not polled again after a panic, and what it shares must hold against poisoning anyway.
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
