//! How sandboxes come and go.

use std::sync::{Arc, MutexGuard, PoisonError};

use wharf_api::containerd::runtime::sandbox::v1 as api;
use wharf_types::Namespace;

use super::{CreateSandbox, Sandbox, Slots};
use crate::bootstrap::Endpoint;
use crate::bundle::Bundle;
use crate::convert::{any_out, mount_out};
use crate::create::{blocking, checked};
use crate::error::{Error, Result};
use crate::manager::{Inner, Key};
use crate::program::Program;
use crate::runtime;
use crate::shim::Shim;
use crate::watch::Process;

impl Inner {
    /// A sandbox that is there.
    pub(super) fn sandbox(&self, namespace: &Namespace, id: &str) -> Result<Arc<Sandbox>> {
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

    /// Makes the bundle, starts the shim and has it create the sandbox. What fails leaves nothing.
    pub(super) async fn create_sandbox(self: &Arc<Self>, key: Key, create: CreateSandbox) -> Result<()> {
        let path = runtime::shim_of(&self.config, &create.runtime)?;
        let place = Place::take(self, key.clone())?;
        let bundle = Bundle::of_sandbox(&self.config, &key.0, &key.1);
        let program = Program::new(path, &bundle);
        let spec = if create.spec.is_empty() { b"{}".to_vec() } else { create.spec.clone() };
        checked(&key.1, &spec)?;
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
    pub(super) async fn end_sandbox(self: &Arc<Self>, sandbox: &Sandbox) {
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
    pub(super) async fn remove_sandbox(self: &Arc<Self>, sandbox: &Sandbox) {
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
        let sandbox = Arc::new(Sandbox::new(bundle, program, endpoint, Arc::clone(&shim)));
        self.sandboxes().insert(sandbox.key(), Some(sandbox));
        self.bury_if_dead(&shim);
        true
    }

    fn sandboxes(&self) -> MutexGuard<'_, Slots> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
