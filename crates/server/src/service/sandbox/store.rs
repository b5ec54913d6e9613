//! Records of sandboxes; nothing runs by them alone.

use std::time::SystemTime;

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::sandbox::v1 as api;
use wharf_api::containerd::types as wire;
use wharf_metadata::{Runtime, Sandbox};

use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, any, from_any, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`wharf_metadata::Sandboxes`]. As with containerd, records come and go without an event: the controller tells.
pub(crate) struct Store(pub(crate) Services);

#[async_trait]
impl api::store_server::Store for Store {
    async fn create(
        &self,
        request: Request<api::StoreCreateRequest>,
    ) -> Result<Response<api::StoreCreateResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.sandboxes.clone());
        let wanted = record(request.into_inner().sandbox.ok_or_else(|| missing("sandbox"))?);
        let made = blocking(move || store.create(&call.namespace, wanted).map_err(refuse)).await?;
        Ok(Response::new(api::StoreCreateResponse { sandbox: Some(message(made)) }))
    }

    async fn update(
        &self,
        request: Request<api::StoreUpdateRequest>,
    ) -> Result<Response<api::StoreUpdateResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.sandboxes.clone());
        let request = request.into_inner();
        let (wanted, paths) = (record(request.sandbox.ok_or_else(|| missing("sandbox"))?), request.fields);
        let changed = blocking(move || store.update(&call.namespace, wanted, &paths).map_err(refuse)).await?;
        Ok(Response::new(api::StoreUpdateResponse { sandbox: Some(message(changed)) }))
    }

    async fn delete(
        &self,
        request: Request<api::StoreDeleteRequest>,
    ) -> Result<Response<api::StoreDeleteResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.sandboxes.clone());
        let id = request.into_inner().sandbox_id;
        blocking(move || store.delete(&call.namespace, &id).map_err(refuse)).await?;
        Ok(Response::new(api::StoreDeleteResponse {}))
    }

    async fn list(&self, request: Request<api::StoreListRequest>) -> Result<Response<api::StoreListResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.sandboxes.clone());
        let filters = convert::filters(&request.into_inner().filters)?;
        let found = blocking(move || store.list(&call.namespace, &filters).map_err(refuse)).await?;
        Ok(Response::new(api::StoreListResponse { list: found.into_iter().map(message).collect() }))
    }

    async fn get(&self, request: Request<api::StoreGetRequest>) -> Result<Response<api::StoreGetResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.sandboxes.clone());
        let id = request.into_inner().sandbox_id;
        let found = blocking(move || store.get(&call.namespace, &id).map_err(refuse)).await?;
        Ok(Response::new(api::StoreGetResponse { sandbox: Some(message(found)) }))
    }
}

fn message(sandbox: Sandbox) -> wire::Sandbox {
    wire::Sandbox {
        sandbox_id: sandbox.id,
        runtime: Some(wire::sandbox::Runtime { name: sandbox.runtime.name, options: sandbox.runtime.options.map(any) }),
        spec: sandbox.spec.map(any),
        labels: to_labels(sandbox.labels),
        created_at: Some(timestamp(sandbox.created_at)),
        updated_at: Some(timestamp(sandbox.updated_at)),
        extensions: sandbox.extensions.into_iter().map(|(key, value)| (key, any(value))).collect(),
        sandboxer: sandbox.sandboxer,
    }
}

/// The record that a client wants; its times are set where it is stored.
fn record(sandbox: wire::Sandbox) -> Sandbox {
    let runtime = sandbox.runtime.unwrap_or_default();
    Sandbox {
        id: sandbox.sandbox_id,
        labels: convert::labels(sandbox.labels),
        runtime: Runtime { name: runtime.name, options: runtime.options.map(from_any) },
        spec: sandbox.spec.map(from_any),
        sandboxer: sandbox.sandboxer,
        extensions: convert::extensions(sandbox.extensions),
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    }
}
