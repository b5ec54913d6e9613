//! Sandboxes: shims that are started before there is a container, for tasks that join them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use wharf_api::containerd::runtime::sandbox::v1 as api;
use wharf_api::containerd::types::Metric;
use wharf_ttrpc::{Code, Status};
use wharf_types::{Any, Id, Mount, Namespace, Platform};

use crate::bootstrap::Endpoint;
use crate::bundle::Bundle;
use crate::convert::{any_out, mount_out, time_in};
use crate::create::blocking;
use crate::error::{Error, Result};
use crate::logs::Log;
use crate::manager::{Inner, Key};
use crate::program::Program;
use crate::shim::Shim;
use crate::task::unknown_exit;
use crate::watch::Process;
use crate::{Exit, ShimManager, runtime};

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

#[async_trait]
impl SandboxController for ShimManager {
    async fn create(&self, namespace: &Namespace, id: &Id, create: CreateSandbox) -> Result<()> {
        let (inner, key) = (Arc::clone(&self.inner), (namespace.clone(), id.clone()));
        // Once begun it is gone through with: whoever gave up finds it by its name.
        finish(tokio::spawn(async move { inner.create_sandbox(key, create).await })).await
    }

    async fn start(&self, namespace: &Namespace, id: &str) -> Result<(api::StartSandboxResponse, ShimAddress)> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let inner = Arc::clone(&self.inner);
        let started = async move {
            let request = api::StartSandboxRequest { sandbox_id: sandbox.name() };
            match sandbox.call("StartSandbox", &request, inner.config.timeouts.slow).await {
                Ok(started) => Ok((started, sandbox.address())),
                Err(error) => {
                    if sandbox.claim() {
                        inner.end_sandbox(&sandbox).await;
                    }
                    Err(error)
                }
            }
        };
        finish(tokio::spawn(started)).await
    }

    async fn platform(&self, namespace: &Namespace, id: &str) -> Result<Platform> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::PlatformRequest { sandbox_id: sandbox.name() };
        let answer: api::PlatformResponse =
            sandbox.call("Platform", &request, self.inner.config.timeouts.quick).await?;
        let platform = answer.platform.unwrap_or_default();
        let (os, architecture, variant) = (platform.os, platform.architecture, platform.variant);
        Ok(Platform { os, architecture, variant, os_version: String::new(), os_features: Vec::new() })
    }

    async fn stop(&self, namespace: &Namespace, id: &str, limit: Option<Duration>) -> Result<()> {
        let Ok(sandbox) = self.inner.sandbox(namespace, id) else { return Ok(()) };
        let timeout_secs = limit.map_or(0, |limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX));
        let request = api::StopSandboxRequest { sandbox_id: sandbox.name(), timeout_secs };
        let longest = self.inner.config.timeouts.slow.saturating_add(limit.unwrap_or_default());
        match sandbox.call::<_, api::StopSandboxResponse>("StopSandbox", &request, longest).await {
            Err(Error::Shim(status)) if !matches!(status.code, Code::NotFound | Code::Unavailable) => {
                Err(Error::Shim(status))
            }
            Err(error @ Error::Silent { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn wait(&self, namespace: &Namespace, id: &str) -> Result<Exit> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::WaitSandboxRequest { sandbox_id: sandbox.name() };
        loop {
            let Ok(client) = sandbox.shim.heard().await else { return Ok(unknown_exit()) };
            let answer: Result<api::WaitSandboxResponse, _> =
                sandbox.shim.call_service_over(SERVICE, &client, "WaitSandbox", &request).await;
            match answer {
                Ok(answer) => return Ok(Exit { pid: 0, status: answer.exit_status, at: time_in(answer.exited_at) }),
                Err(_) if client.is_closed() => {}
                Err(status) => return Err(sandbox.explain(Error::Shim(status))),
            }
        }
    }

    async fn status(
        &self,
        namespace: &Namespace,
        id: &str,
        verbose: bool,
    ) -> Result<(api::SandboxStatusResponse, ShimAddress)> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::SandboxStatusRequest { sandbox_id: sandbox.name(), verbose };
        let answer = sandbox.call("SandboxStatus", &request, self.inner.config.timeouts.quick).await?;
        Ok((answer, sandbox.address()))
    }

    async fn shutdown(&self, namespace: &Namespace, id: &str) -> Result<()> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let inner = Arc::clone(&self.inner);
        let ended = async move {
            let request = api::ShutdownSandboxRequest { sandbox_id: sandbox.name() };
            let limit = inner.config.timeouts.slow;
            match sandbox.call::<_, api::ShutdownSandboxResponse>("ShutdownSandbox", &request, limit).await {
                // It may end before it answers.
                Ok(_) | Err(Error::Dead(_)) => {}
                Err(Error::Silent { .. }) if sandbox.shim.dead(inner.config.timeouts.shutdown).await => {}
                Err(error) => return Err(error),
            }
            if sandbox.claim() {
                inner.remove_sandbox(&sandbox).await;
            }
            Ok(())
        };
        finish(tokio::spawn(ended)).await
    }

    async fn metrics(&self, namespace: &Namespace, id: &str) -> Result<Option<Metric>> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::SandboxMetricsRequest { sandbox_id: sandbox.name() };
        let answer: api::SandboxMetricsResponse =
            sandbox.call("SandboxMetrics", &request, self.inner.config.timeouts.quick).await?;
        Ok(answer.metrics)
    }

    fn find(&self, namespace: &Namespace, id: &str) -> Result<ShimAddress> {
        self.inner.sandbox(namespace, id).map(|sandbox| sandbox.address())
    }
}

async fn finish<T>(work: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    work.await.unwrap_or_else(|error| Err(Error::Internal(format!("work on a sandbox broke off: {error}"))))
}

impl Inner {
    fn sandbox(&self, namespace: &Namespace, id: &str) -> Result<Arc<Sandbox>> {
        let unknown = || Error::NoSandbox(id.to_owned());
        let key = (namespace.clone(), id.parse().map_err(|_| unknown())?);
        self.sandboxes().get(&key).cloned().flatten().ok_or_else(unknown)
    }

    /// Where a task joins its sandbox: at an address, which must be one of this namespace's sandboxes', or at the sandbox's
    /// own.
    pub(crate) fn joined(&self, namespace: &Namespace, id: &str, address: &str) -> Result<Endpoint> {
        if address.is_empty() {
            return self.sandbox(namespace, id).map(|sandbox| sandbox.endpoint.clone());
        }
        let sandboxes = self.sandboxes();
        let mut own =
            sandboxes.iter().filter(|((owner, _), _)| owner == namespace).filter_map(|(_, slot)| slot.as_ref());
        let found = own.find(|sandbox| sandbox.endpoint.address == address);
        found.map(|sandbox| sandbox.endpoint.clone()).ok_or_else(|| Error::NoSandbox(address.to_owned()))
    }

    async fn create_sandbox(self: &Arc<Self>, key: Key, create: CreateSandbox) -> Result<()> {
        let path = runtime::shim_of(&self.config, &create.runtime)?;
        let place = Place::take(self, key.clone())?;
        let bundle = Bundle::of_sandbox(&self.config, &key.0, &key.1);
        let program = Program::new(path, &bundle);
        let spec = if create.spec.is_empty() { b"{}".to_vec() } else { create.spec.clone() };
        let (making, shim) = (bundle.clone(), program.path.clone());
        blocking(move || {
            if making.path.exists() && !making.process().is_some_and(Process::lives) {
                making.remove()?;
            }
            making.make(&spec, &shim)
        })
        .await?;
        match self.boot_sandbox(&bundle, &program, &create).await {
            Ok(sandbox) => {
                let sandbox = place.fill(sandbox);
                // It may have died before it could be found by whoever cleans up.
                if sandbox.shim.is_known_dead() {
                    self.bury_sandboxes(&sandbox.shim).await;
                }
                Ok(())
            }
            Err(error) => {
                self.remove(&bundle).await;
                Err(error)
            }
        }
    }

    async fn boot_sandbox(
        self: &Arc<Self>,
        bundle: &Bundle,
        program: &Program,
        create: &CreateSandbox,
    ) -> Result<Sandbox> {
        let started = self.start(bundle, program, create.runtime_options.as_ref()).await;
        let (shim, endpoint) = match started {
            Ok(started) => started,
            Err(error) => {
                self.clean(program).await;
                return Err(error);
            }
        };
        let sandbox = Sandbox::new(bundle.clone(), program.clone(), endpoint, shim);
        match self.create_in_shim(&sandbox, create).await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                self.end_sandbox(&sandbox).await;
                Err(error)
            }
        }
    }

    async fn create_in_shim(&self, sandbox: &Sandbox, create: &CreateSandbox) -> Result<()> {
        let request = api::CreateSandboxRequest {
            sandbox_id: sandbox.name(),
            bundle_path: sandbox.bundle.path.display().to_string(),
            rootfs: create.rootfs.iter().map(mount_out).collect(),
            options: create.options.as_ref().map(any_out),
            netns_path: create.netns.clone(),
            annotations: create.annotations.clone().into_iter().collect(),
        };
        sandbox.shim.client(&sandbox.bundle.id, Some(self.config.timeouts.attach)).await?;
        if let Some(process) = sandbox.shim.process() {
            let bundle = sandbox.bundle.clone();
            blocking(move || bundle.keep_process(process)).await?;
        }
        let answer: Result<api::CreateSandboxResponse> =
            sandbox.call("CreateSandbox", &request, self.config.timeouts.slow).await;
        answer.map(|_| ())
    }

    /// Ends a sandbox that cannot be used: asked to go, or else made to.
    async fn end_sandbox(self: &Arc<Self>, sandbox: &Sandbox) {
        let request = api::ShutdownSandboxRequest { sandbox_id: sandbox.name() };
        let limit = self.config.timeouts.shutdown;
        let asked: Result<api::ShutdownSandboxResponse> = sandbox.call("ShutdownSandbox", &request, limit).await;
        if asked.is_err() {
            let request = wharf_api::containerd::task::v3::ShutdownRequest { id: sandbox.name(), now: true };
            // It may end before it answers.
            let _: Result<()> = sandbox.shim.call(&sandbox.bundle.id, "Shutdown", &request, limit).await;
        }
        self.remove_sandbox(sandbox).await;
    }

    /// Removes what is left of a sandbox whose shim was told to go.
    async fn remove_sandbox(self: &Arc<Self>, sandbox: &Sandbox) {
        let last = sandbox.shim.leave();
        if last && !sandbox.shim.dead(self.config.timeouts.shutdown).await {
            sandbox.shim.kill();
            sandbox.shim.dead(self.config.timeouts.shutdown).await;
            self.clean(&sandbox.program).await;
        }
        self.remove(&sandbox.bundle).await;
        self.sandboxes().remove(&sandbox.key());
    }

    /// Cleans up after a shim that has died.
    pub(crate) async fn bury_sandboxes(self: &Arc<Self>, shim: &Arc<Shim>) {
        let dead: Vec<_> =
            self.sandboxes().values().flatten().filter(|sandbox| Arc::ptr_eq(&sandbox.shim, shim)).cloned().collect();
        for sandbox in dead.into_iter().filter(|sandbox| sandbox.claim()) {
            tracing::warn!(id = sandbox.name(), "a sandbox's shim has died: cleaning up after it");
            self.clean(&sandbox.program).await;
            self.remove_sandbox(&sandbox).await;
        }
    }

    /// Takes up a sandbox that an earlier daemon left; false when it cannot be reached any more.
    pub(crate) fn take_up_sandbox(
        self: &Arc<Self>,
        bundle: Bundle,
        program: Program,
        endpoint: Endpoint,
        process: Option<Process>,
    ) -> bool {
        let Ok(shim) = self.shim_at(&endpoint, &bundle, process) else { return false };
        let sandbox = Arc::new(Sandbox::new(bundle, program, endpoint, shim));
        self.sandboxes().insert(sandbox.key(), Some(sandbox));
        true
    }

    fn sandboxes(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sandboxes by name; nothing while one is being made.
pub(crate) type Slots = std::collections::BTreeMap<Key, Option<Arc<Sandbox>>>;

/// A name that is taken for a sandbox in the making; dropped, it is free again.
struct Place {
    inner: Arc<Inner>,
    key: Key,
}

impl Place {
    fn take(inner: &Arc<Inner>, key: Key) -> Result<Self> {
        let mut slots = inner.sandboxes();
        if slots.contains_key(&key) {
            return Err(Error::SandboxExists(key.1.to_string()));
        }
        slots.insert(key.clone(), None);
        Ok(Self { inner: Arc::clone(inner), key })
    }

    fn fill(self, sandbox: Sandbox) -> Arc<Sandbox> {
        let sandbox = Arc::new(sandbox);
        self.inner.sandboxes().insert(self.key.clone(), Some(Arc::clone(&sandbox)));
        sandbox
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.inner.sandboxes();
        if let Some(None) = slots.get(&self.key) {
            slots.remove(&self.key);
        }
    }
}
