//! The sandbox API: a shim that is there before its containers, and is told when the last of them may go.
//!
//! A sandbox here is this process: there is nothing else to start, and what joins it are containers (containerd: the pause
//! shim of `containerd-shim-runc-v2`). So its pid is the shim's, and it is ready as long as it was not stopped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prost::Message;
use tokio::sync::watch;
use wharf_api::containerd::runtime::sandbox::v1 as api;
use wharf_api::containerd::types::Platform;
use wharf_ttrpc::{BoxFuture, Code, Context, Handler, Status};
use wharf_types::Kind as _;

use crate::error::{self, Error, Result};
use crate::shim::Shim;
use crate::time::timestamp;

/// The service's full name.
pub(crate) const SERVICE: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// The sandbox service of a shim.
pub(crate) struct SandboxService {
    shim: Arc<Shim>,
    sandbox: Mutex<Option<Sandbox>>,
    /// When it was stopped, once it was.
    stopped: watch::Sender<Option<SystemTime>>,
}

/// The one sandbox that a shim can be.
#[derive(Clone)]
struct Sandbox {
    id: String,
    created: SystemTime,
    started: bool,
}

impl SandboxService {
    pub(crate) fn new(shim: Arc<Shim>) -> Self {
        Self { shim, sandbox: Mutex::default(), stopped: watch::Sender::new(None) }
    }

    fn held(&self) -> MutexGuard<'_, Option<Sandbox>> {
        self.sandbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Result<Sandbox> {
        let found = self.held().clone().filter(|sandbox| sandbox.id == id);
        found.ok_or_else(|| Error::NotFound(format!("sandbox {id:?} is not in this shim")))
    }

    fn create(&self, request: api::CreateSandboxRequest) -> Result<api::CreateSandboxResponse> {
        if !request.rootfs.is_empty() {
            return Err(Error::Unimplemented("a sandbox with a root filesystem is not built".into()));
        }
        let mut sandbox = self.held();
        if let Some(sandbox) = sandbox.as_ref() {
            return Err(Error::Exists(format!("sandbox {:?}", sandbox.id)));
        }
        *sandbox = Some(Sandbox { id: request.sandbox_id, created: SystemTime::now(), started: false });
        Ok(api::CreateSandboxResponse {})
    }

    fn start(&self, request: &api::StartSandboxRequest) -> Result<api::StartSandboxResponse> {
        let found = self.find(&request.sandbox_id)?;
        if self.stopped.borrow().is_some() {
            return Err(Error::Precondition(format!("sandbox {:?} was stopped", found.id)));
        }
        if let Some(sandbox) = self.held().as_mut() {
            sandbox.started = true;
        }
        Ok(api::StartSandboxResponse {
            pid: std::process::id(),
            created_at: Some(timestamp(found.created)),
            ..api::StartSandboxResponse::default()
        })
    }

    fn stop(&self, request: &api::StopSandboxRequest) -> Result<api::StopSandboxResponse> {
        self.find(&request.sandbox_id)?;
        self.stopped.send_if_modified(|at| at.replace(at.unwrap_or_else(SystemTime::now)).is_none());
        Ok(api::StopSandboxResponse {})
    }

    async fn wait(&self, request: api::WaitSandboxRequest) -> Result<api::WaitSandboxResponse> {
        self.find(&request.sandbox_id)?;
        let at = self.stopped.subscribe().wait_for(Option::is_some).await.map(|at| *at).ok().flatten();
        Ok(api::WaitSandboxResponse { exit_status: 0, exited_at: at.map(timestamp) })
    }

    fn status(&self, request: &api::SandboxStatusRequest) -> Result<api::SandboxStatusResponse> {
        let found = self.find(&request.sandbox_id)?;
        let stopped = *self.stopped.borrow();
        let ready = found.started && stopped.is_none();
        Ok(api::SandboxStatusResponse {
            sandbox_id: found.id,
            pid: std::process::id(),
            state: if ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" }.to_owned(),
            created_at: Some(timestamp(found.created)),
            exited_at: stopped.map(timestamp),
            ..api::SandboxStatusResponse::default()
        })
    }

    fn shutdown(&self, request: &api::ShutdownSandboxRequest) -> Result<api::ShutdownSandboxResponse> {
        let found = self.find(&request.sandbox_id)?;
        if !self.shim.is_empty() {
            return Err(Error::Precondition(format!("sandbox {:?} has containers; delete them first", found.id)));
        }
        self.stopped.send_if_modified(|at| at.replace(at.unwrap_or_else(SystemTime::now)).is_none());
        self.shim.stop();
        Ok(api::ShutdownSandboxResponse {})
    }

    async fn dispatch(&self, method: &str, payload: &[u8]) -> Result<Vec<u8>, Status> {
        match method {
            "CreateSandbox" => answer(self.create(decode(payload)?)),
            "StartSandbox" => answer(self.start(&decode(payload)?)),
            "Platform" => {
                let request: api::PlatformRequest = decode(payload)?;
                answer(self.find(&request.sandbox_id).map(|_| api::PlatformResponse { platform: Some(platform()) }))
            }
            "StopSandbox" => answer(self.stop(&decode(payload)?)),
            "WaitSandbox" => answer(self.wait(decode(payload)?).await),
            "SandboxStatus" => answer(self.status(&decode(payload)?)),
            "PingSandbox" => {
                let request: api::PingRequest = decode(payload)?;
                answer(self.find(&request.sandbox_id).map(|_| api::PingResponse {}))
            }
            "ShutdownSandbox" => answer(self.shutdown(&decode(payload)?)),
            // Its containers have a cgroup each, it has none.
            "SandboxMetrics" => {
                let request: api::SandboxMetricsRequest = decode(payload)?;
                answer(self.find(&request.sandbox_id).map(|_| api::SandboxMetricsResponse::default()))
            }
            other => Err(Status::unknown_method(other)),
        }
    }
}

impl Handler for SandboxService {
    fn call<'a>(
        &'a self,
        _: Context,
        method: &'a str,
        payload: bytes::Bytes,
    ) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move { self.dispatch(method, &payload).await })
    }
}

fn platform() -> Platform {
    let host = wharf_types::Platform::host();
    Platform { os: host.os, architecture: host.architecture, variant: host.variant, ..Platform::default() }
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Status> {
    M::decode(payload).map_err(|e| Status::new(Code::InvalidArgument, format!("the request cannot be read: {e}")))
}

fn answer<M: Message>(result: Result<M>) -> Result<Vec<u8>, Status> {
    let refused = |error: Error| Status::new(Code::from_i32(error.kind().code()), error::chain(&error));
    result.map(|message| message.encode_to_vec()).map_err(refused)
}
