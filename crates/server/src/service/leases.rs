//! Leases keep objects from being collected.

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::leases::v1 as api;
use wharf_metadata::{Lease, Resource};

use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`wharf_metadata::Leases`].
pub(crate) struct Leases(pub(crate) Services);

#[async_trait]
impl api::leases_server::Leases for Leases {
    async fn create(&self, request: Request<api::CreateRequest>) -> Result<Response<api::CreateResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.leases.clone());
        let request = request.into_inner();
        let id = if request.id.is_empty() { uuid::Uuid::new_v4().to_string() } else { request.id };
        check(&id)?;
        let labels = convert::labels(request.labels);
        let lease = blocking(move || store.create(&call.namespace, &id, &labels).map_err(refuse)).await?;
        Ok(Response::new(api::CreateResponse { lease: Some(message(lease)) }))
    }

    async fn delete(&self, request: Request<api::DeleteRequest>) -> Result<Response<()>, Status> {
        let (call, services) = (Call::of(&request)?, self.0.clone());
        let request = request.into_inner();
        blocking(move || {
            services.leases.delete(&call.namespace, &request.id).map_err(refuse)?;
            if request.sync { services.stores.collect().map_err(refuse) } else { Ok(()) }
        })
        .await?;
        Ok(Response::new(()))
    }

    async fn list(&self, request: Request<api::ListRequest>) -> Result<Response<api::ListResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.leases.clone());
        let filters = convert::filters(&request.into_inner().filters)?;
        let leases = blocking(move || store.list(&call.namespace, &filters).map_err(refuse)).await?;
        Ok(Response::new(api::ListResponse { leases: leases.into_iter().map(message).collect() }))
    }

    async fn add_resource(&self, request: Request<api::AddResourceRequest>) -> Result<Response<()>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.leases.clone());
        let request = request.into_inner();
        let resource = resource(request.resource)?;
        blocking(move || store.add(&call.namespace, &request.id, &resource).map_err(refuse)).await?;
        Ok(Response::new(()))
    }

    async fn delete_resource(&self, request: Request<api::DeleteResourceRequest>) -> Result<Response<()>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.leases.clone());
        let request = request.into_inner();
        let resource = resource(request.resource)?;
        blocking(move || store.remove(&call.namespace, &request.id, &resource).map_err(refuse)).await?;
        Ok(Response::new(()))
    }

    async fn list_resources(
        &self,
        request: Request<api::ListResourcesRequest>,
    ) -> Result<Response<api::ListResourcesResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.leases.clone());
        let id = request.into_inner().id;
        let held = blocking(move || store.resources(&call.namespace, &id).map_err(refuse)).await?;
        let resources = held.into_iter().map(|held| api::Resource { id: held.id, r#type: held.kind }).collect();
        Ok(Response::new(api::ListResourcesResponse { resources }))
    }
}

/// Leases are no identifiers: clients make up base64. What could be taken for a path, or breaks a line, is refused.
fn check(id: &str) -> Result<(), Status> {
    if id.contains('/') || id.contains(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "lease {id:?}: an identifier has no '/' and no control characters"
        )));
    }
    Ok(())
}

fn message(lease: Lease) -> api::Lease {
    api::Lease { id: lease.id, created_at: Some(timestamp(lease.created_at)), labels: to_labels(lease.labels) }
}

fn resource(resource: Option<api::Resource>) -> Result<Resource, Status> {
    let resource = resource.ok_or_else(|| missing("resource"))?;
    Ok(Resource { kind: resource.r#type, id: resource.id })
}
