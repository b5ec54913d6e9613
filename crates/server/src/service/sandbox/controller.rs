//! Sandboxes that run.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::events;
use wharf_api::containerd::services::sandbox::v1 as api;
use wharf_supervisor::{CreateSandbox, SandboxController};
use wharf_types::{ErrorKind, Kind as _};

use crate::Services;
use crate::announce::announce;
use crate::blocking::to_the_end;
use crate::call::{Call, id};
use crate::convert::{from_any, from_mount, platform, timestamp};
use crate::refuse::{missing, refuse};

/// Over [`wharf_supervisor::SandboxController`], which clients know as the controller `shim`.
pub(crate) struct Controller(pub(crate) Services);

/// The one controller that there is.
const SHIM: &str = "shim";

impl Controller {
    /// The controller of a name.
    fn of(&self, sandboxer: &str) -> Result<Arc<dyn SandboxController>, Status> {
        match sandboxer {
            SHIM => Ok(self.0.sandbox_controller.clone()),
            "" => Err(Status::invalid_argument("the request names no sandboxer: there is \"shim\"")),
            other => Err(Status::not_found(format!("sandboxer {other:?}: not found; there is \"shim\""))),
        }
    }
}

#[async_trait]
impl api::controller_server::Controller for Controller {
    async fn create(
        &self,
        request: Request<api::ControllerCreateRequest>,
    ) -> Result<Response<api::ControllerCreateResponse>, Status> {
        let (call, exchange) = (Call::of(&request)?, self.0.events.clone());
        let request = request.into_inner();
        let controller = self.of(&request.sandboxer)?;
        let (sandbox_id, wanted) = wanted(request)?;
        let id = id(&sandbox_id)?;
        to_the_end(async move {
            controller.create(&call.namespace, &id, wanted).await.map_err(refuse)?;
            let event = events::SandboxCreate { sandbox_id: id.to_string() };
            announce(&*exchange, &call.namespace, "/sandboxes/create", "containerd.events.SandboxCreate", &event);
            Ok(())
        })
        .await?;
        Ok(Response::new(api::ControllerCreateResponse { sandbox_id }))
    }

    async fn start(
        &self,
        request: Request<api::ControllerStartRequest>,
    ) -> Result<Response<api::ControllerStartResponse>, Status> {
        let (call, exchange) = (Call::of(&request)?, self.0.events.clone());
        let request = request.into_inner();
        let (controller, id) = (self.of(&request.sandboxer)?, request.sandbox_id.clone());
        let (started, at) = to_the_end(async move {
            let started = controller.start(&call.namespace, &id).await.map_err(refuse)?;
            let event = events::SandboxStart { sandbox_id: id };
            announce(&*exchange, &call.namespace, "/sandboxes/start", "containerd.events.SandboxStart", &event);
            Ok(started)
        })
        .await?;
        Ok(Response::new(api::ControllerStartResponse {
            sandbox_id: request.sandbox_id,
            pid: started.pid,
            created_at: started.created_at,
            labels: Default::default(),
            address: at.address,
            version: at.version,
            spec: started.spec,
        }))
    }

    async fn platform(
        &self,
        request: Request<api::ControllerPlatformRequest>,
    ) -> Result<Response<api::ControllerPlatformResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let found =
            self.of(&request.sandboxer)?.platform(&call.namespace, &request.sandbox_id).await.map_err(refuse)?;
        Ok(Response::new(api::ControllerPlatformResponse { platform: Some(platform(found)) }))
    }

    async fn stop(
        &self,
        request: Request<api::ControllerStopRequest>,
    ) -> Result<Response<api::ControllerStopResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let controller = self.of(&request.sandboxer)?;
        let limit = (request.timeout_secs > 0).then(|| Duration::from_secs(request.timeout_secs.into()));
        to_the_end(async move { controller.stop(&call.namespace, &request.sandbox_id, limit).await.map_err(refuse) })
            .await?;
        Ok(Response::new(api::ControllerStopResponse {}))
    }

    async fn wait(
        &self,
        request: Request<api::ControllerWaitRequest>,
    ) -> Result<Response<api::ControllerWaitResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let controller = self.of(&request.sandboxer)?;
        let stopped = Status::unavailable("the daemon is stopping; wait again when it is back");
        let exit = tokio::select! {
            exit = controller.wait(&call.namespace, &request.sandbox_id) => exit.map_err(refuse)?,
            () = self.0.stopping.stopped() => return Err(stopped),
        };
        let exited_at = Some(timestamp(exit.at));
        // As with containerd, it is told by whoever waits.
        let event = events::SandboxExit { sandbox_id: request.sandbox_id, exit_status: exit.status, exited_at };
        announce(&*self.0.events, &call.namespace, "/sandboxes/exit", "containerd.events.SandboxExit", &event);
        Ok(Response::new(api::ControllerWaitResponse { exit_status: exit.status, exited_at }))
    }

    async fn status(
        &self,
        request: Request<api::ControllerStatusRequest>,
    ) -> Result<Response<api::ControllerStatusResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let controller = self.of(&request.sandboxer)?;
        let id = request.sandbox_id;
        match controller.status(&call.namespace, &id, request.verbose).await {
            Ok((status, at)) => Ok(Response::new(api::ControllerStatusResponse {
                sandbox_id: status.sandbox_id,
                pid: status.pid,
                state: status.state,
                info: status.info,
                created_at: status.created_at,
                exited_at: status.exited_at,
                extra: status.extra,
                address: at.address,
                version: at.version,
            })),
            // One that is not there has ended: that is what clients are told, and count on.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Response::new(api::ControllerStatusResponse {
                sandbox_id: id,
                exited_at: Some(timestamp(SystemTime::now())),
                ..api::ControllerStatusResponse::default()
            })),
            Err(error) => Err(refuse(error)),
        }
    }

    async fn shutdown(
        &self,
        request: Request<api::ControllerShutdownRequest>,
    ) -> Result<Response<api::ControllerShutdownResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let controller = self.of(&request.sandboxer)?;
        to_the_end(async move { controller.shutdown(&call.namespace, &request.sandbox_id).await.map_err(refuse) })
            .await?;
        Ok(Response::new(api::ControllerShutdownResponse {}))
    }

    async fn metrics(
        &self,
        request: Request<api::ControllerMetricsRequest>,
    ) -> Result<Response<api::ControllerMetricsResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let metrics = self.of(&request.sandboxer)?.metrics(&call.namespace, &request.sandbox_id).await;
        Ok(Response::new(api::ControllerMetricsResponse { metrics: metrics.map_err(refuse)? }))
    }

    async fn update(
        &self,
        request: Request<api::ControllerUpdateRequest>,
    ) -> Result<Response<api::ControllerUpdateResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let controller = self.of(&request.sandboxer)?;
        request.sandbox.ok_or_else(|| missing("sandbox"))?;
        // The shim's API has nothing to change: what there is to say of a sandbox is in its record.
        controller.find(&call.namespace, &request.sandbox_id).map_err(refuse)?;
        Ok(Response::new(api::ControllerUpdateResponse {}))
    }
}

/// What a request asks for, and its name.
fn wanted(request: api::ControllerCreateRequest) -> Result<(String, CreateSandbox), Status> {
    let sandbox = request.sandbox.unwrap_or_default();
    let id = if sandbox.sandbox_id.is_empty() { request.sandbox_id.clone() } else { sandbox.sandbox_id };
    if !request.sandbox_id.is_empty() && request.sandbox_id != id {
        let asked = request.sandbox_id;
        return Err(Status::invalid_argument(format!("sandbox {asked:?}: its record is that of {id:?}")));
    }
    let runtime = sandbox.runtime.unwrap_or_default();
    let wanted = CreateSandbox {
        spec: sandbox.spec.map(|spec| spec.value).unwrap_or_default(),
        runtime: runtime.name,
        runtime_options: runtime.options.map(from_any),
        rootfs: request.rootfs.into_iter().map(from_mount).collect(),
        options: request.options.map(from_any),
        netns: request.netns_path,
        annotations: request.annotations.into_iter().collect(),
    };
    Ok((id, wanted))
}
