//! The one service that shims call: they hand over their events by ttrpc.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use wharf_api::containerd::services::events::ttrpc::v1::ForwardRequest;
use wharf_events::Exchange;
use wharf_ttrpc::server::BoxFuture;
use wharf_ttrpc::{Code, Context, Handler, Server, Status};

use crate::service::events::forwarded;

/// The service's full name.
const EVENTS: &str = "containerd.services.events.ttrpc.v1.Events";

/// A ttrpc server that hands what shims report to `exchange`.
#[must_use]
pub fn server(exchange: Arc<dyn Exchange>) -> Server {
    Server::new().service(EVENTS, Arc::new(Events(exchange)))
}

struct Events(Arc<dyn Exchange>);

impl Handler for Events {
    fn call<'a>(&'a self, _: Context, method: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            match method {
                "Forward" => self.forward(payload).map(|()| Vec::new()),
                _ => Err(Status::unknown_method(method)),
            }
        })
    }
}

impl Events {
    fn forward(&self, payload: Bytes) -> Result<(), Status> {
        let refused = |why: String| Status::new(Code::InvalidArgument, why);
        let request = ForwardRequest::decode(payload).map_err(|error| refused(format!("ForwardRequest: {error}")))?;
        let envelope = request.envelope.ok_or_else(|| refused("the request has no envelope".to_owned()))?;
        let envelope = forwarded(envelope).map_err(|status| refused(status.message().to_owned()))?;
        tracing::debug!(namespace = %envelope.namespace, topic = envelope.topic, "a shim reports");
        self.0.publish(envelope).map_err(|error| refused(error.to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharf_api::containerd::types::Envelope;
    use wharf_events::{Delivery, Hub};
    use wharf_types::Filters;

    use super::*;

    #[test]
    fn what_a_shim_forwards_reaches_subscribers() {
        let hub = Hub::default();
        let mut subscription = hub.subscribe(Filters::all());
        let events = Events(Arc::new(hub));
        let event = prost_types::Any { type_url: "containerd.events.TaskOOM".into(), value: vec![] };
        let (namespace, topic) = ("default".to_owned(), "/tasks/oom".to_owned());
        let envelope = Envelope { namespace, topic, event: Some(event), ..Default::default() };
        let whole = ForwardRequest { envelope: Some(envelope.clone()) };
        events.forward(whole.encode_to_vec().into()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let Some(Delivery::Event(event)) = runtime.block_on(subscription.next()) else { panic!("no event") };
        assert_eq!((event.topic.as_str(), event.event.type_url.as_str()), ("/tasks/oom", "containerd.events.TaskOOM"));
        for broken in [
            ForwardRequest { envelope: None },
            ForwardRequest { envelope: Some(Envelope { namespace: "../x".into(), ..envelope.clone() }) },
            ForwardRequest { envelope: Some(Envelope { event: None, ..envelope.clone() }) },
            ForwardRequest { envelope: Some(Envelope { topic: "tasks".into(), ..envelope }) },
        ] {
            assert_eq!(events.forward(broken.encode_to_vec().into()).unwrap_err().code, Code::InvalidArgument);
        }
        assert!(events.forward(Bytes::from_static(b"\xff\xff")).is_err());
    }
}
