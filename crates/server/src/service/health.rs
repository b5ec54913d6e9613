//! Whether the daemon serves (gRPC health checking protocol).

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, async_trait};
use wharf_api::grpc::health::v1 as api;
use wharf_api::grpc::health::v1::health_check_response::ServingStatus;

use crate::Stopping;

/// Whoever reaches it is served: the socket is bound last and closed first.
pub(crate) struct Health(pub(crate) Stopping);

/// What every service's name begins with.
const OURS: &[&str] = &["containerd.services.", "grpc.health.v1."];

fn known(service: &str) -> bool {
    service.is_empty() || OURS.iter().any(|ours| service.starts_with(ours))
}

#[async_trait]
impl api::health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<api::HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<api::HealthCheckRequest>,
    ) -> Result<Response<api::HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if known(&service) {
            return Ok(Response::new(api::HealthCheckResponse { status: ServingStatus::Serving.into() }));
        }
        Err(Status::not_found(format!("service {service:?}: not found")))
    }

    async fn watch(&self, request: Request<api::HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let status = if known(&service) { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        let first = Ok(api::HealthCheckResponse { status: status.into() });
        // It does not change before the connection ends.
        let stopping = self.0.clone();
        let until = async move { stopping.stopped().await };
        Ok(Response::new(Box::pin(stream::once(async { first }).chain(stream::pending()).take_until(until))))
    }
}
