//! Sandboxes: groups of containers that share a shim.

mod store;

pub(crate) use store::Store;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::sandbox::v1 as api;

use crate::refuse::unimplemented;

/// Not built.
pub(crate) struct Sandboxes;

/// The answer of every method here.
fn refused<T>() -> Result<Response<T>, Status> {
    Err(unimplemented("sandboxes are not built yet; put the containers of a pod into one shim by their annotations"))
}

/// A service whose methods answer with [`refused`].
macro_rules! refuse_all {
    ($service:path { $($method:ident($request:ident) -> $response:ident;)+ }) => {
        #[async_trait]
        impl $service for Sandboxes {
            $(async fn $method(&self, _: Request<api::$request>) -> Result<Response<api::$response>, Status> {
                refused()
            })+
        }
    };
}

refuse_all! {
    api::controller_server::Controller {
        create(ControllerCreateRequest) -> ControllerCreateResponse;
        start(ControllerStartRequest) -> ControllerStartResponse;
        platform(ControllerPlatformRequest) -> ControllerPlatformResponse;
        stop(ControllerStopRequest) -> ControllerStopResponse;
        wait(ControllerWaitRequest) -> ControllerWaitResponse;
        status(ControllerStatusRequest) -> ControllerStatusResponse;
        shutdown(ControllerShutdownRequest) -> ControllerShutdownResponse;
        metrics(ControllerMetricsRequest) -> ControllerMetricsResponse;
        update(ControllerUpdateRequest) -> ControllerUpdateResponse;
    }
}
