//! The services on a listener.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures::{Stream, stream};
use tokio::net::{UnixListener, UnixStream};
use tonic::body::Body;
use tonic::codegen::http::{self, Response, Uri};
use tonic::service::Routes;
use tonic::transport::Server;
use tower::util::MapResponseLayer;
use wharf_api::containerd::services as api;
use wharf_api::grpc::health::v1::health_server::HealthServer;

use crate::Services;
use crate::answer;
use crate::call::NAMESPACE;
use crate::refuse::unimplemented;
use crate::service::streaming::Streams;
use crate::service::{
    containers, content, diff, events, health, images, introspection, leases, mounts, namespaces, sandbox, snapshots,
    tasks, transfer, version,
};

/// The most bytes of one message, both ways.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Puts a service under the limit of messages.
macro_rules! limited {
    ($server:path, $service:expr, $limit:expr) => {{
        use $server as Server;
        Server::new($service).max_decoding_message_size($limit).max_encoding_message_size($limit)
    }};
}

/// How many bytes of one stream a client may send ahead: a message of a blob's bytes goes through without a stop.
const STREAM_WINDOW: u32 = 1 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How long to wait when no connection can be taken, as when the process has no descriptors left.
const BREATHE: Duration = Duration::from_millis(50);

/// All services, with messages of at most `limit` bytes both ways ([`MAX_MESSAGE_BYTES`] is what clients expect).
#[must_use]
pub fn router(services: &Services, limit: usize) -> Routes {
    let of = || services.clone();
    let streams = Streams::default();
    let known = Routes::default()
        .add_service(limited!(api::version::v1::version_server::VersionServer, version::Version(of()), limit))
        .add_service(limited!(
            api::namespaces::v1::namespaces_server::NamespacesServer,
            namespaces::Namespaces(of()),
            limit
        ))
        .add_service(limited!(
            api::containers::v1::containers_server::ContainersServer,
            containers::Containers(of()),
            limit
        ))
        .add_service(limited!(api::content::v1::content_server::ContentServer, content::Content(of().stores), limit))
        .add_service(limited!(
            api::snapshots::v1::snapshots_server::SnapshotsServer,
            snapshots::Snapshots { stores: of().stores, namespaces: Some(of().namespaces) },
            limit
        ))
        .add_service(limited!(
            api::diff::v1::diff_server::DiffServer,
            diff::Diff { stores: of().stores, applier: of().applier, comparer: of().comparer },
            limit
        ))
        .add_service(limited!(api::images::v1::images_server::ImagesServer, images::Images(of()), limit))
        .add_service(limited!(api::leases::v1::leases_server::LeasesServer, leases::Leases(of()), limit))
        .add_service(limited!(api::tasks::v1::tasks_server::TasksServer, tasks::Tasks(of()), limit))
        .add_service(limited!(api::events::v1::events_server::EventsServer, events::Events(of()), limit))
        .add_service(limited!(
            api::introspection::v1::introspection_server::IntrospectionServer,
            introspection::Introspection(of()),
            limit
        ))
        .add_service(limited!(
            api::transfer::v1::transfer_server::TransferServer,
            transfer::Transfer::new(of(), streams.clone()),
            limit
        ))
        .add_service(limited!(api::streaming::v1::streaming_server::StreamingServer, streams, limit))
        .add_service(limited!(api::sandbox::v1::store_server::StoreServer, sandbox::Store(of()), limit))
        .add_service(limited!(api::sandbox::v1::controller_server::ControllerServer, sandbox::Controller(of()), limit))
        .add_service(limited!(api::mounts::v1::mounts_server::MountsServer, mounts::Mounts(services.clone()), limit))
        .add_service(HealthServer::new(health::Health(services.stopping.clone())));
    Routes::from(known.into_axum_router().fallback(unknown).layer(MapResponseLayer::new(answer::plain)))
}

/// What is asked of a service that nobody here has heard of.
async fn unknown(uri: Uri) -> Response<Body> {
    unimplemented(format!("{}: there is no such service here", uri.path())).into_http()
}

/// What every line that is logged in a call carries.
fn span(request: &http::Request<()>) -> tracing::Span {
    let namespace = request.headers().get(NAMESPACE).and_then(|value| value.to_str().ok());
    tracing::info_span!("call", method = request.uri().path(), namespace)
}

/// Serves until `stop` is ready; then takes no more connections or calls and returns once those under way are done. A
/// subscription does not end by itself: whoever stops gives this future a deadline and drops it.
///
/// # Errors
/// When connections cannot be taken any more.
pub async fn serve(routes: Routes, listener: UnixListener, stop: impl Future<Output = ()> + Send) -> io::Result<()> {
    let connections = connections(listener);
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .trace_fn(span)
        .add_routes(routes);
    server.serve_with_incoming_shutdown(connections, stop).await.map_err(io::Error::other)
}

/// Connections as they come. A failure to take one is passing: the listener stays.
fn connections(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> + Send {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => return Some((Ok(connection), listener)),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not taken");
                    tokio::time::sleep(BREATHE).await;
                }
            }
        }
    })
}
