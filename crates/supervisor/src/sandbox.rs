//! Sandboxes: shims that are started before there is a container, for tasks that join them.

mod controller;
mod life;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wharf_api::containerd::runtime::sandbox::v1 as api;
use wharf_api::containerd::types::Metric;
use wharf_ttrpc::{Code, Status};
use wharf_types::{Any, Id, Mount, Namespace, Platform};

use crate::Exit;
use crate::bootstrap::Endpoint;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::logs::Log;
use crate::manager::Key;
use crate::program::Program;
use crate::shim::Shim;

/// The service of a shim that serves sandboxes.
const SERVICE: &str = "containerd.runtime.sandbox.v1.Sandbox";

/// Starts and ends sandboxes, each a shim of its own.
#[async_trait]
pub trait SandboxController: Send + Sync {
    /// Makes the bundle, starts the shim and has it create the sandbox.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` for an unknown runtime; `Unimplemented` when its shim serves no sandboxes; the shim's own.
    async fn create(&self, namespace: &Namespace, id: &Id, create: CreateSandbox) -> Result<()>;

    /// Starts a sandbox. One that will not start is ended and removed.
    ///
    /// # Errors
    /// `NotFound`; the shim's own.
    async fn start(&self, namespace: &Namespace, id: &str) -> Result<(api::StartSandboxResponse, ShimAddress)>;

    /// What runs in a sandbox.
    ///
    /// # Errors
    /// `NotFound`; the shim's own.
    async fn platform(&self, namespace: &Namespace, id: &str) -> Result<Platform>;

    /// Stops a sandbox, within `limit` where one is given. One that has stopped, or is not there, has stopped.
    ///
    /// # Errors
    /// The shim's own.
    async fn stop(&self, namespace: &Namespace, id: &str, limit: Option<Duration>) -> Result<()>;

    /// Waits until a sandbox has ended, as long as it takes; also across its shim's death.
    ///
    /// # Errors
    /// `NotFound`; the shim's own.
    async fn wait(&self, namespace: &Namespace, id: &str) -> Result<Exit>;

    /// What a sandbox does; `verbose` asks for the shim's own detail.
    ///
    /// # Errors
    /// `NotFound`; the shim's own.
    async fn status(
        &self,
        namespace: &Namespace,
        id: &str,
        verbose: bool,
    ) -> Result<(api::SandboxStatusResponse, ShimAddress)>;

    /// Ends a sandbox's shim and removes its bundle.
    ///
    /// # Errors
    /// `NotFound`; the shim's own, such as `FailedPrecondition` while there are containers in it.
    async fn shutdown(&self, namespace: &Namespace, id: &str) -> Result<()>;

    /// What a sandbox uses; nothing where its shim does not say.
    ///
    /// # Errors
    /// `NotFound`; the shim's own.
    async fn metrics(&self, namespace: &Namespace, id: &str) -> Result<Option<Metric>>;

    /// Whether there is a sandbox.
    ///
    /// # Errors
    /// `NotFound`.
    fn find(&self, namespace: &Namespace, id: &str) -> Result<ShimAddress>;
}

/// What a sandbox is made from.
#[derive(Clone, Debug, Default)]
pub struct CreateSandbox {
    /// The bundle's `config.json`; empty for none.
    pub spec: Vec<u8>,
    /// The runtime, such as `io.containerd.runc.v2`.
    pub runtime: String,
    /// The runtime's own options.
    pub runtime_options: Option<Any>,
    /// What the shim mounts as a root filesystem.
    pub rootfs: Vec<Mount>,
    /// The sandbox's own options.
    pub options: Option<Any>,
    /// The path of a network namespace; empty for none.
    pub netns: String,
    /// For the shim.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// Where a shim serves the task API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShimAddress {
    /// `unix://` and a path.
    pub address: String,
    /// The version of the task API.
    pub version: u32,
}

/// A sandbox, as long as its shim has it.
pub(crate) struct Sandbox {
    bundle: Bundle,
    program: Program,
    endpoint: Endpoint,
    shim: Arc<Shim>,
    claimed: AtomicBool,
    /// Read as long as the sandbox is there.
    _log: Option<Log>,
}

impl Sandbox {
    fn new(bundle: Bundle, program: Program, endpoint: Endpoint, shim: Arc<Shim>) -> Self {
        let log = Log::open(&bundle.path, bundle.namespace.as_str(), bundle.id.as_str()).ok();
        Self { bundle, program, endpoint, shim, claimed: AtomicBool::new(false), _log: log }
    }

    fn address(&self) -> ShimAddress {
        ShimAddress {
            address: self.endpoint.address.clone(),
            version: u32::try_from(self.endpoint.version).unwrap_or_default(),
        }
    }

    fn key(&self) -> Key {
        (self.bundle.namespace.clone(), self.bundle.id.clone())
    }

    fn name(&self) -> String {
        self.bundle.id.to_string()
    }

    /// Takes the right and the duty to clean up; only the first who asks gets it.
    fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::SeqCst)
    }

    async fn call<Req, Resp>(&self, method: &str, request: &Req, limit: Duration) -> Result<Resp>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        let answer = self.shim.call_service(SERVICE, &self.bundle.id, method, request, limit).await;
        answer.map_err(|error| self.explain(error))
    }

    /// A shim that knows no sandboxes says so in words that name neither.
    fn explain(&self, error: Error) -> Error {
        match error {
            Error::Shim(status) if status.code == Code::Unimplemented => {
                let (id, program) = (&self.bundle.id, self.program.path.display());
                Error::Shim(Status::new(
                    Code::Unimplemented,
                    format!("sandbox {id:?}: {program} serves no sandboxes: {}", status.message),
                ))
            }
            error => error,
        }
    }
}

/// Sandboxes by name; nothing while one is being made.
pub(crate) type Slots = std::collections::BTreeMap<Key, Option<Arc<Sandbox>>>;
