//! The calling side of a connection.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::codec::{self, Incoming, Kind};
use crate::envelope::{KeyValue, Request, Response};
use crate::status::{Code, Status};
use crate::wire::{self, Reader};

/// Frames that wait to be written, before a call waits too.
const QUEUE: usize = 16;

/// How a call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// How long to wait, here and at the server; for ever when absent.
    pub timeout: Option<Duration>,
    /// What travels beside the argument, such as [`crate::server::NAMESPACE_KEY`].
    pub metadata: Vec<(String, String)>,
}

/// A connection, shared by its clones; it ends with the last of them. Calls run side by side.
#[derive(Clone, Debug)]
pub struct Client {
    frames: mpsc::Sender<Bytes>,
    calls: Arc<Calls>,
}

/// The calls that wait for an answer.
#[derive(Debug, Default)]
struct Calls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pending: HashMap<u32, oneshot::Sender<Result<Bytes, Status>>>,
    /// Calls made so far: the next stream is twice that and one.
    made: u32,
    ended: bool,
}

impl Client {
    /// Connects to a socket. It must be called within a tokio runtime.
    ///
    /// # Errors
    /// `Unavailable`, naming the socket and the reason.
    pub async fn connect(path: &Path) -> Result<Self, Status> {
        let stream = UnixStream::connect(path).await;
        stream.map(Self::new).map_err(|error| {
            Status::new(Code::Unavailable, format!("ttrpc: connecting to {}: {error}", path.display()))
        })
    }

    /// Speaks over a connection that exists. It must be called within a tokio runtime.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        let (frames, queue) = mpsc::channel(QUEUE);
        let calls = Arc::new(Calls::default());
        tokio::spawn(run(stream, queue, Arc::clone(&calls)));
        Self { frames, calls }
    }

    /// Calls a method and waits for its answer. Dropping the future forgets the call; the server may still carry it out.
    ///
    /// # Errors
    /// The server's status; `DeadlineExceeded` after `options.timeout`; `Unavailable` when the connection has ended or ends
    /// meanwhile; `ResourceExhausted` for more than 4 MiB; `Internal` for an answer of another type.
    pub async fn call<Req: Message, Resp: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &Req,
        options: &CallOptions,
    ) -> Result<Resp, Status> {
        let envelope = Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: request.encode_to_vec().into(),
            timeout_nano: options.timeout.map_or(0, |t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX).max(1)),
            metadata: options.metadata.iter().cloned().map(|(key, value)| KeyValue { key, value }).collect(),
        };
        let answer = match options.timeout {
            None => self.exchange(&envelope).await,
            Some(timeout) => tokio::time::timeout(timeout, self.exchange(&envelope)).await.unwrap_or_else(|_| {
                let words = format!("ttrpc: {service}/{method} was not answered within {timeout:?}");
                Err(Status::new(Code::DeadlineExceeded, words))
            }),
        }?;
        Resp::decode(answer)
            .map_err(|error| Status::new(Code::Internal, format!("ttrpc: the answer to {service}/{method}: {error}")))
    }

    /// True once the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    async fn exchange(&self, envelope: &Request) -> Result<Bytes, Status> {
        let slot = self.frames.reserve().await.map_err(|_| Status::closed())?;
        let (answer, call) = {
            // Numbers must grow on the wire, so the frame is queued under the lock that gave it its number.
            let mut state = self.calls.state();
            if state.ended {
                return Err(Status::closed());
            }
            let stream = state.made.checked_mul(2).and_then(|n| n.checked_add(1));
            let stream = stream.ok_or_else(|| Status::new(Code::Unavailable, "ttrpc: the connection is worn out"))?;
            let frame = codec::encode(stream, Kind::Request, envelope)?;
            state.made += 1;
            let (sender, answer) = oneshot::channel();
            state.pending.insert(stream, sender);
            slot.send(frame);
            (answer, Pending { calls: &self.calls, stream })
        };
        let answer = answer.await.unwrap_or_else(|_| Err(Status::closed()));
        drop(call);
        answer
    }
}

/// Forgets a call when nobody waits for it any more.
struct Pending<'a> {
    calls: &'a Calls,
    stream: u32,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.calls.state().pending.remove(&self.stream);
    }
}

impl Calls {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands an answer to whoever waits for it; what nobody waits for was given up and is dropped.
    fn answer(&self, stream: u32, answer: Result<Bytes, Status>) {
        let waiting = self.state().pending.remove(&stream);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        state.pending.clear();
    }
}

/// Carries frames both ways until either way ends.
async fn run(mut stream: UnixStream, queue: mpsc::Receiver<Bytes>, calls: Arc<Calls>) {
    let (reader, writer) = stream.split();
    let read = async {
        let mut reader = Reader::new(reader);
        while let Some(incoming) = reader.next().await {
            match incoming {
                Incoming::Frame(head, bytes) if head.kind == Kind::Response => calls.answer(head.stream, open(bytes)),
                Incoming::Frame(..) => {}
                Incoming::TooLong(head) => calls.answer(head.stream, Err(Status::too_long(head.length as usize))),
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = wire::write_all(writer, queue) => {}
    }
    calls.end();
}

/// Takes the answer out of its envelope.
fn open(bytes: Bytes) -> Result<Bytes, Status> {
    let response = Response::decode(bytes)
        .map_err(|error| Status::new(Code::Internal, format!("ttrpc: the answer's envelope: {error}")))?;
    match response.status {
        Some(status) if status.code != 0 => Err(Status::new(Code::from_i32(status.code), status.message)),
        _ => Ok(response.payload),
    }
}
