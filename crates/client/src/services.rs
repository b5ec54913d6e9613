//! The generated clients, with the namespace and the lease in each call.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use wharf_api::containerd::services as api;

use crate::{Client, MAX_MESSAGE};

/// A channel that names the namespace in each call.
pub type Service = InterceptedService<Channel, Headers>;

/// The headers of each call.
#[derive(Clone, Debug)]
pub struct Headers {
    namespace: String,
    lease: Option<String>,
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = |text: &str| {
            text.parse::<MetadataValue<Ascii>>()
                .map_err(|_| Status::invalid_argument(format!("{text:?} cannot stand in a header")))
        };
        // The second name is what ttrpc uses; servers that hand calls on look for it.
        request.metadata_mut().insert("containerd-namespace", value(&self.namespace)?);
        request.metadata_mut().insert("containerd-namespace-ttrpc", value(&self.namespace)?);
        if let Some(lease) = &self.lease {
            request.metadata_mut().insert("containerd-lease", value(lease)?);
        }
        Ok(request)
    }
}

/// One accessor a service.
macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $module:ident :: $inner:ident :: $client:ident;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(&self) -> api::$module::v1::$inner::$client<Service> {
                    let headers = Headers { namespace: self.namespace.clone(), lease: self.lease.clone() };
                    type Module = api::$module::v1::$inner::$client<Service>;
                    Module::new(InterceptedService::new(self.channel.clone(), headers))
                        .max_decoding_message_size(MAX_MESSAGE)
                        .max_encoding_message_size(MAX_MESSAGE)
                }
            )*
        }
    };
}

services! {
    /// Records of containers.
    containers: containers::containers_client::ContainersClient;
    /// Blobs and ingests.
    content: content::content_client::ContentClient;
    /// Layers to trees and back.
    diff: diff::diff_client::DiffClient;
    /// Events of all namespaces.
    events_service: events::events_client::EventsClient;
    /// Names of images.
    images: images::images_client::ImagesClient;
    /// What the server is made of.
    introspection: introspection::introspection_client::IntrospectionClient;
    /// Leases.
    leases: leases::leases_client::LeasesClient;
    /// Namespaces.
    namespaces: namespaces::namespaces_client::NamespacesClient;
    /// Layered filesystems.
    snapshots: snapshots::snapshots_client::SnapshotsClient;
    /// Named two-way streams.
    streaming: streaming::streaming_client::StreamingClient;
    /// Running containers.
    tasks: tasks::tasks_client::TasksClient;
    /// Images between ends.
    transfer: transfer::transfer_client::TransferClient;
    /// The server's version.
    version_service: version::version_client::VersionClient;
}
