//! Publish, forward and subscribe.

use std::pin::Pin;
use std::time::SystemTime;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::events::v1 as api;
use wharf_api::containerd::types;
use wharf_events::{Delivery, Envelope, Subscription};

use crate::Services;
use crate::call::{Call, id};
use crate::convert::{self, any, from_any, timestamp};
use crate::refuse::{missing, refuse};

/// Over [`wharf_events::Exchange`].
pub(crate) struct Events(pub(crate) Services);

#[async_trait]
impl api::events_server::Events for Events {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<types::Envelope, Status>> + Send>>;

    async fn publish(&self, request: Request<api::PublishRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let event = request.event.map(from_any).ok_or_else(|| missing("event"))?;
        let (timestamp, namespace) = (SystemTime::now(), call.namespace);
        self.0.events.publish(Envelope { timestamp, namespace, topic: request.topic, event }).map_err(refuse)?;
        Ok(Response::new(()))
    }

    async fn forward(&self, request: Request<api::ForwardRequest>) -> Result<Response<()>, Status> {
        let envelope = request.into_inner().envelope.ok_or_else(|| missing("envelope"))?;
        self.0.events.publish(forwarded(envelope)?).map_err(refuse)?;
        Ok(Response::new(()))
    }

    async fn subscribe(
        &self,
        request: Request<api::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let filters = convert::filters(&request.into_inner().filters)?;
        let subscription = self.0.events.subscribe(filters);
        let stopping = self.0.stopping.clone();
        let until = async move { stopping.stopped().await };
        Ok(Response::new(Box::pin(deliveries(subscription).take_until(until))))
    }
}

/// An envelope that somebody else filled: it keeps its time and its namespace.
///
/// # Errors
/// `InvalidArgument` for a namespace or a time that cannot be.
pub(crate) fn forwarded(envelope: types::Envelope) -> Result<Envelope, Status> {
    Ok(Envelope {
        timestamp: envelope.timestamp.map_or_else(|| Ok(SystemTime::now()), convert::time)?,
        namespace: id(&envelope.namespace)?,
        topic: envelope.topic,
        event: envelope.event.map(from_any).ok_or_else(|| missing("event"))?,
    })
}

/// What a subscriber receives. One that was too slow is told how much it missed, and has to subscribe again.
fn deliveries(subscription: Subscription) -> impl Stream<Item = Result<types::Envelope, Status>> + Send {
    stream::unfold(Some(subscription), |subscription| async {
        let mut subscription = subscription?;
        match subscription.next().await? {
            Delivery::Event(event) => Some((Ok(message(&event)), Some(subscription))),
            Delivery::Missed(count) => {
                let missed = Status::data_loss(format!("missed {count} events: the subscriber was too slow"));
                Some((Err(missed), None))
            }
        }
    })
}

fn message(envelope: &Envelope) -> types::Envelope {
    types::Envelope {
        timestamp: Some(timestamp(envelope.timestamp)),
        namespace: envelope.namespace.to_string(),
        topic: envelope.topic.clone(),
        event: Some(any(envelope.event.clone())),
    }
}
