//! Events that a shim can no longer send.

use std::time::SystemTime;

use prost::Message;
use wharf_api::containerd::events::{TaskDelete, TaskExit};
use wharf_events::{Envelope, Exchange};
use wharf_types::Any;

use crate::Exit;
use crate::bundle::Bundle;
use crate::convert::time_out;

/// Tells that a task has ended and is gone, in this order. Whoever listens may have heard it before.
pub(crate) fn ended(exchange: &dyn Exchange, bundle: &Bundle, exit: Exit) {
    let (id, at) = (bundle.id.to_string(), Some(time_out(exit.at)));
    let ended =
        TaskExit { container_id: id.clone(), id: id.clone(), pid: exit.pid, exit_status: exit.status, exited_at: at };
    let deleted =
        TaskDelete { container_id: id, pid: exit.pid, exit_status: exit.status, exited_at: at, id: String::new() };
    publish(exchange, bundle, "/tasks/exit", "containerd.events.TaskExit", &ended);
    publish(exchange, bundle, "/tasks/delete", "containerd.events.TaskDelete", &deleted);
}

fn publish(exchange: &dyn Exchange, bundle: &Bundle, topic: &str, kind: &str, event: &impl Message) {
    let envelope = Envelope {
        timestamp: SystemTime::now(),
        namespace: bundle.namespace.clone(),
        topic: topic.to_owned(),
        event: Any { type_url: kind.to_owned(), value: event.encode_to_vec() },
    };
    if let Err(error) = exchange.publish(envelope) {
        tracing::warn!(topic, %error, "an event was not published");
    }
}
