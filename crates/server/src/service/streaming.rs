//! Named two-way streams beside another call: progress of a transfer, credentials for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming as Incoming, async_trait};
use wharf_api::containerd::services::streaming::v1 as api;
use wharf_types::Namespace;

use crate::call::Call;
use crate::convert::type_name;

/// How long a client may take to say which stream it opens.
const INIT: Duration = Duration::from_secs(10);

/// How many messages may wait for a client.
const QUEUE: usize = 512;

/// The streams that clients have opened and no other call has taken yet.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<Key, Open>>>);

type Key = (Namespace, String);

/// One end of an open stream. Dropping it ends the stream.
pub(crate) struct Open {
    /// To the client.
    pub(crate) outgoing: mpsc::Sender<Result<prost_types::Any, Status>>,
    /// From the client.
    pub(crate) incoming: Incoming<prost_types::Any>,
}

impl Streams {
    /// Takes the stream that a client opened under `id`.
    ///
    /// # Errors
    /// `NotFound`, also when another call took it.
    pub(crate) fn take(&self, namespace: &Namespace, id: &str) -> Result<Open, Status> {
        let taken = self.lock().remove(&(namespace.clone(), id.to_owned()));
        taken.ok_or_else(|| {
            Status::not_found(format!("stream {id:?}: not found; open it before the call that names it"))
        })
    }

    fn register(&self, key: &Key, open: Open) -> Result<(), Status> {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(_) => Err(Status::already_exists(format!("stream {:?}: already exists", key.1))),
            Entry::Vacant(vacant) => {
                vacant.insert(open);
                Ok(())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Open>> {
        // The map is whole whatever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a stream that nobody took when its client goes.
struct Registered(Streams, Key, mpsc::WeakSender<Result<prost_types::Any, Status>>);

impl Drop for Registered {
    fn drop(&mut self) {
        let mut streams = self.0.lock();
        // Another client may have opened a stream of the same name since.
        let ours = |open: &Open| self.2.upgrade().is_some_and(|sender| sender.same_channel(&open.outgoing));
        if streams.get(&self.1).is_some_and(ours) {
            streams.remove(&self.1);
        }
    }
}

#[async_trait]
impl api::streaming_server::Streaming for Streams {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<prost_types::Any, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Incoming<prost_types::Any>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let call = Call::of(&request)?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(INIT, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("the stream's first message did not come"))??;
        let key = (call.namespace, name(first)?);
        let (outgoing, queue) = mpsc::channel(QUEUE);
        let registered = Registered(self.clone(), key.clone(), outgoing.downgrade());
        self.register(&key, Open { outgoing, incoming })?;
        // The client waits for this before it makes the call that names the stream.
        let ready = prost_types::Any { type_url: "google.protobuf.Empty".into(), value: Vec::new() };
        let queue = ReceiverStream::new(queue).map(move |message| {
            let _until_the_client_goes = &registered;
            message
        });
        Ok(Response::new(Box::pin(stream::once(async { Ok(ready) }).chain(queue))))
    }
}

/// The name in the first message of a stream.
fn name(first: Option<prost_types::Any>) -> Result<String, Status> {
    let init = first.filter(|any| type_name(&any.type_url) == "containerd.services.streaming.v1.StreamInit");
    let init = init.ok_or_else(|| Status::invalid_argument("a stream begins with a StreamInit"))?;
    let init = api::StreamInit::decode(init.value.as_slice());
    let id = init.map_err(|error| Status::invalid_argument(format!("StreamInit: {error}")))?.id;
    if id.is_empty() { Err(Status::invalid_argument("a stream needs an id")) } else { Ok(id) }
}
