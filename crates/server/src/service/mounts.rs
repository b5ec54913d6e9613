//! Mounts that the daemon would make for a client.

use futures::stream;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::mounts::v1 as api;

use crate::refuse::unimplemented;

/// Not built.
pub(crate) struct Mounts;

fn refused<T>() -> Result<Response<T>, Status> {
    Err(unimplemented("the daemon mounts nothing for clients yet; mount what the snapshotter answers"))
}

#[async_trait]
impl api::mounts_server::Mounts for Mounts {
    type ListStream = stream::Empty<Result<api::ListMessage, Status>>;

    async fn activate(&self, _: Request<api::ActivateRequest>) -> Result<Response<api::ActivateResponse>, Status> {
        refused()
    }

    async fn deactivate(&self, _: Request<api::DeactivateRequest>) -> Result<Response<()>, Status> {
        refused()
    }

    async fn info(&self, _: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        refused()
    }

    async fn update(&self, _: Request<api::UpdateRequest>) -> Result<Response<api::UpdateResponse>, Status> {
        refused()
    }

    async fn list(&self, _: Request<api::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        refused()
    }
}
