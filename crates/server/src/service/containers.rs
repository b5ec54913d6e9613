//! Records of containers; nothing runs by them alone.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{Stream, StreamExt as _, future, stream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::events;
use wharf_api::containerd::services::containers::v1 as api;
use wharf_metadata::{Container, Runtime};
use wharf_types::{Filters, Namespace};

use crate::Services;
use crate::announce::announce;
use crate::blocking::blocking;
use crate::call::{Call, id};
use crate::convert::{self, any, from_any, paths, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`wharf_metadata::Containers`].
pub(crate) struct Containers(pub(crate) Services);

/// The label of a namespace that names its runtime.
const DEFAULT_RUNTIME: &str = "containerd.io/defaults/runtime";

impl Services {
    /// Changes a container record as [`wharf_metadata::Containers::update`] does, and tells of it. Blocks.
    ///
    /// # Errors
    /// Those of the store.
    pub fn change_container(
        &self,
        namespace: &Namespace,
        wanted: Container,
        paths: &[String],
    ) -> wharf_metadata::Result<Container> {
        let changed = self.containers.update(namespace, wanted, paths)?;
        let event = events::ContainerUpdate {
            id: changed.id.clone(),
            image: changed.image.clone(),
            labels: to_labels(changed.labels.clone()),
            snapshot_key: changed.snapshot_key.clone(),
        };
        announce(&*self.events, namespace, "/containers/update", "containerd.events.ContainerUpdate", &event);
        Ok(changed)
    }
}

/// How many containers of a stream may wait for the client.
const AHEAD: usize = 16;

/// How long a client may take nothing of a stream before it is given up: a walk holds a thread.
const STALLED: Duration = Duration::from_secs(30);

impl Containers {
    async fn all(&self, call: Call, filters: Filters) -> Result<Vec<api::Container>, Status> {
        let store = self.0.containers.clone();
        blocking(move || {
            let mut found = Vec::new();
            let mut visit = |container| {
                found.push(message(container));
                Ok(())
            };
            store.walk(&call.namespace, &filters, &mut visit).map_err(refuse)?;
            Ok(found)
        })
        .await
    }
}

#[async_trait]
impl api::containers_server::Containers for Containers {
    type ListStreamStream = Pin<Box<dyn Stream<Item = Result<api::ListContainerMessage, Status>> + Send>>;

    async fn get(
        &self,
        request: Request<api::GetContainerRequest>,
    ) -> Result<Response<api::GetContainerResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.containers.clone());
        let id = request.into_inner().id;
        let container = blocking(move || store.get(&call.namespace, &id).map_err(refuse)).await?;
        Ok(Response::new(api::GetContainerResponse { container: Some(message(container)) }))
    }

    async fn list(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<api::ListContainersResponse>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filters(&request.into_inner().filters)?;
        let containers = self.all(call, filters).await?;
        Ok(Response::new(api::ListContainersResponse { containers }))
    }

    async fn list_stream(
        &self,
        request: Request<api::ListContainersRequest>,
    ) -> Result<Response<Self::ListStreamStream>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filters(&request.into_inner().filters)?;
        let store = self.0.containers.clone();
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (fail, failed) = oneshot::channel();
        let runtime = Handle::current();
        // The walk goes no faster than the client takes, and ends when it is gone or takes nothing.
        tokio::task::spawn_blocking(move || {
            let mut visit = |container| {
                let message = api::ListContainerMessage { container: Some(message(container)) };
                let sent = runtime.block_on(sender.send_timeout(Ok(message), STALLED));
                sent.map_err(|_| wharf_metadata::Error::Precondition(format!("nothing was taken for {STALLED:?}")))
            };
            if let Err(error) = store.walk(&call.namespace, &filters, &mut visit) {
                // Nobody hears it where the client is gone.
                let _ = fail.send(refuse(error));
            }
        });
        let end = stream::once(failed).filter_map(|failed| future::ready(failed.ok().map(Err)));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).chain(end))))
    }

    async fn create(
        &self,
        request: Request<api::CreateContainerRequest>,
    ) -> Result<Response<api::CreateContainerResponse>, Status> {
        let call = Call::of(&request)?;
        let container = request.into_inner().container.ok_or_else(|| missing("container"))?;
        id(&container.id)?;
        let services = self.0.clone();
        let container = blocking(move || {
            let mut wanted = record(container);
            if wanted.runtime.name.is_empty() {
                // The namespace may not exist yet; the store then says what is missing.
                let labels = services.namespaces.get(&call.namespace).map(|record| record.labels).unwrap_or_default();
                wanted.runtime.name = labels.get(DEFAULT_RUNTIME).cloned().unwrap_or_default();
            }
            let made = services.containers.create(&call.namespace, wanted).map_err(refuse)?;
            let event = events::ContainerCreate {
                id: made.id.clone(),
                image: made.image.clone(),
                runtime: Some(events::container_create::Runtime {
                    name: made.runtime.name.clone(),
                    options: made.runtime.options.clone().map(any),
                }),
            };
            let topic = "/containers/create";
            announce(&*services.events, &call.namespace, topic, "containerd.events.ContainerCreate", &event);
            Ok(made)
        });
        Ok(Response::new(api::CreateContainerResponse { container: Some(message(container.await?)) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateContainerRequest>,
    ) -> Result<Response<api::UpdateContainerResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let wanted = record(request.container.ok_or_else(|| missing("container"))?);
        let paths = paths(request.update_mask);
        let services = self.0.clone();
        let changed = move || services.change_container(&call.namespace, wanted, &paths).map_err(refuse);
        let container = blocking(changed);
        Ok(Response::new(api::UpdateContainerResponse { container: Some(message(container.await?)) }))
    }

    async fn delete(&self, request: Request<api::DeleteContainerRequest>) -> Result<Response<()>, Status> {
        let (call, store, exchange) = (Call::of(&request)?, self.0.containers.clone(), Arc::clone(&self.0.events));
        let id = request.into_inner().id;
        blocking(move || {
            store.delete(&call.namespace, &id).map_err(refuse)?;
            let event = events::ContainerDelete { id };
            announce(&*exchange, &call.namespace, "/containers/delete", "containerd.events.ContainerDelete", &event);
            Ok(())
        })
        .await?;
        Ok(Response::new(()))
    }
}

fn message(container: Container) -> api::Container {
    api::Container {
        id: container.id,
        labels: to_labels(container.labels),
        image: container.image,
        runtime: Some(api::container::Runtime {
            name: container.runtime.name,
            options: container.runtime.options.map(any),
        }),
        spec: container.spec.map(any),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        created_at: Some(timestamp(container.created_at)),
        updated_at: Some(timestamp(container.updated_at)),
        extensions: container.extensions.into_iter().map(|(key, value)| (key, any(value))).collect(),
        sandbox: container.sandbox,
    }
}

/// The record that a client wants; its times are set where it is stored.
fn record(container: api::Container) -> Container {
    let runtime = container.runtime.unwrap_or_default();
    Container {
        id: container.id,
        labels: convert::labels(container.labels),
        image: container.image,
        runtime: Runtime { name: runtime.name, options: runtime.options.map(from_any) },
        spec: container.spec.map(from_any),
        snapshotter: container.snapshotter,
        snapshot_key: container.snapshot_key,
        extensions: convert::extensions(container.extensions),
        sandbox: container.sandbox,
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    }
}
