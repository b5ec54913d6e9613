//! Mounts that the daemon makes for a client.

use futures::stream;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::mounts::v1 as api;
use wharf_api::containerd::types::{ActivationInfo, ActiveMount, Mount};
use wharf_metadata::Activation;
use wharf_mount::Activate;

use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, timestamp, to_labels};
use crate::refuse::{refuse, unimplemented};

/// Over [`wharf_mount::MountManager`].
pub(crate) struct Mounts(pub(crate) Services);

#[async_trait]
impl api::mounts_server::Mounts for Mounts {
    type ListStream = stream::Iter<std::vec::IntoIter<Result<api::ListMessage, Status>>>;

    async fn activate(
        &self,
        request: Request<api::ActivateRequest>,
    ) -> Result<Response<api::ActivateResponse>, Status> {
        let (Call { namespace, lease }, manager) = (Call::of(&request)?, self.0.mounts.clone());
        let request = request.into_inner();
        let asked = Activate {
            name: request.name,
            mounts: request.mounts.into_iter().map(convert::from_mount).collect(),
            temporary: request.temporary,
            labels: convert::labels(request.labels),
            lease,
        };
        let made = blocking(move || manager.activate(&namespace, asked).map_err(refuse)).await?;
        Ok(Response::new(api::ActivateResponse { info: Some(message(made)) }))
    }

    async fn deactivate(&self, request: Request<api::DeactivateRequest>) -> Result<Response<()>, Status> {
        let (call, manager) = (Call::of(&request)?, self.0.mounts.clone());
        let name = request.into_inner().name;
        blocking(move || manager.deactivate(&call.namespace, &name).map_err(refuse)).await?;
        Ok(Response::new(()))
    }

    async fn info(&self, request: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        let (call, manager) = (Call::of(&request)?, self.0.mounts.clone());
        let name = request.into_inner().name;
        let found = blocking(move || manager.info(&call.namespace, &name).map_err(refuse)).await?;
        Ok(Response::new(api::InfoResponse { info: Some(message(found)) }))
    }

    async fn update(&self, _: Request<api::UpdateRequest>) -> Result<Response<api::UpdateResponse>, Status> {
        Err(unimplemented("what is mounted does not change; deactivate it and activate another"))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (call, manager) = (Call::of(&request)?, self.0.mounts.clone());
        let filters = convert::filters(&request.into_inner().filters)?;
        let found = blocking(move || manager.list(&call.namespace, &filters).map_err(refuse)).await?;
        let messages = found.into_iter().map(|found| Ok(api::ListMessage { info: Some(message(found)) }));
        Ok(Response::new(stream::iter(messages.collect::<Vec<_>>())))
    }
}

fn message(activation: Activation) -> ActivationInfo {
    let mount =
        |m: wharf_types::Mount| Mount { r#type: m.kind, source: m.source, target: m.target, options: m.options };
    let active = |active: wharf_metadata::ActiveMount| ActiveMount {
        mount: Some(mount(active.mount)),
        mounted_at: Some(timestamp(active.mounted_at)),
        mount_point: active.point,
        ..ActiveMount::default()
    };
    ActivationInfo {
        name: activation.name,
        active: activation.active.into_iter().map(active).collect(),
        system: convert::mounts(activation.system),
        labels: to_labels(activation.labels),
    }
}
