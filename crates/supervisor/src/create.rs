//! From a request to a created task, and back again when it fails.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use serde::de::IgnoredAny;
use wharf_api::containerd::task::v3 as api;
use wharf_types::{Any, Id};

use crate::bootstrap::Endpoint;
use crate::bundle::Bundle;
use crate::convert::{any_out, mount_out};
use crate::error::{Error, Result};
use crate::manager::{Inner, Key};
use crate::program::Program;
use crate::shim::Shim;
use crate::task::ShimTask;
use crate::watch::Process;
use crate::{CreateTask, runtime};

impl Inner {
    /// Makes the bundle, starts the shim and has it create the container. What fails leaves nothing.
    pub(crate) async fn create(self: &Arc<Self>, key: Key, create: CreateTask) -> Result<Arc<ShimTask>> {
        let path = runtime::shim_of(&self.config, &create.runtime)?;
        checked(&key.1, &create.spec)?;
        let reservation = self.reserve(key.clone()).await?;
        let bundle = Bundle::new(&self.config, &key.0, &key.1);
        let program = Program::new(path, &bundle);
        let (making, spec, shim) = (bundle.clone(), create.spec.clone(), program.path.clone());
        blocking(move || {
            // The name is ours. What an earlier removal could not take away goes now, unless somebody lives in it.
            if making.path.exists() && !making.process().is_some_and(Process::lives) {
                making.remove()?;
            }
            making.make(&spec, &shim)
        })
        .await?;
        match self.boot(&bundle, program, &create).await {
            Ok(task) => {
                task.set_ready();
                reservation.fill(Arc::clone(&task));
                self.bury_if_dead(&task.shim);
                Ok(task)
            }
            Err(error) => {
                self.remove(&bundle).await;
                Err(error)
            }
        }
    }

    async fn boot(self: &Arc<Self>, bundle: &Bundle, program: Program, create: &CreateTask) -> Result<Arc<ShimTask>> {
        let joins = !create.sandbox.is_empty() || !create.sandbox_address.is_empty();
        let started = if joins {
            self.join(bundle, create).await
        } else {
            self.start(bundle, &program, create.options.as_ref()).await.map(|(shim, _)| shim)
        };
        let shim = match started {
            Ok(shim) => shim,
            Err(error) if joins => return Err(error),
            Err(error) => {
                // Whatever the program did before it failed, it knows how to undo it.
                self.clean(&program).await;
                return Err(error);
            }
        };
        let task = ShimTask::new(bundle.clone(), program, shim, self.config.timeouts);
        match self.create_in(&task, create).await {
            Ok(pid) => {
                task.set_pid(pid);
                Ok(Arc::new(task))
            }
            Err(error) => {
                self.undo(&task, &error).await;
                Err(error)
            }
        }
    }

    async fn create_in(&self, task: &ShimTask, create: &CreateTask) -> Result<u32> {
        let request = api::CreateTaskRequest {
            id: task.bundle.id.to_string(),
            bundle: task.bundle.path.display().to_string(),
            rootfs: create.rootfs.iter().map(mount_out).collect(),
            terminal: create.io.terminal,
            stdin: create.io.stdin.clone(),
            stdout: create.io.stdout.clone(),
            stderr: create.io.stderr.clone(),
            checkpoint: create.checkpoint.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            parent_checkpoint: String::new(),
            options: create.options.as_ref().map(any_out),
        };
        // Before the container exists, so that a daemon that dies meanwhile knows whom to ask.
        task.shim.client(&task.bundle.id, Some(self.config.timeouts.attach)).await?;
        if let Some(process) = task.shim.process() {
            let bundle = task.bundle.clone();
            blocking(move || bundle.keep_process(process)).await?;
        }
        let answer: api::CreateTaskResponse = task.call("Create", &request, self.config.timeouts.slow).await?;
        Ok(answer.pid)
    }

    /// Joins the shim of a sandbox.
    async fn join(self: &Arc<Self>, bundle: &Bundle, create: &CreateTask) -> Result<Arc<Shim>> {
        let endpoint = self.joined(&bundle.namespace, &create.sandbox, &create.sandbox_address)?;
        let (keeping, kept) = (bundle.clone(), endpoint.clone());
        blocking(move || keeping.keep_endpoint(&kept)).await?;
        self.shim_at(&endpoint, bundle, None).map_err(|_| Error::NoSandbox(create.sandbox.clone()))
    }

    /// Starts a shim, or joins the one that serves where the start says.
    pub(crate) async fn start(
        self: &Arc<Self>,
        bundle: &Bundle,
        program: &Program,
        options: Option<&Any>,
    ) -> Result<(Arc<Shim>, Endpoint)> {
        for _ in 0..2 {
            let endpoint = program.start(&self.config, options).await?;
            let (keeping, kept) = (bundle.clone(), endpoint.clone());
            blocking(move || keeping.keep_endpoint(&kept)).await?;
            match self.shim_at(&endpoint, bundle, None) {
                Ok(shim) => return Ok((shim, endpoint)),
                // It was just told to go: a new one is started once it has.
                Err(going) => going.dead(self.config.timeouts.shutdown).await,
            };
        }
        let reason = "the shim it names was told to end and does not".to_owned();
        Err(Error::Silent { task: bundle.id.to_string(), reason })
    }

    /// The shim at an address, with one more user.
    ///
    /// # Errors
    /// The shim, when it is going.
    pub(crate) fn shim_at(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        bundle: &Bundle,
        recorded: Option<Process>,
    ) -> Result<Arc<Shim>, Arc<Shim>> {
        let socket = endpoint.socket().unwrap_or_default();
        let mut shims = self.shims.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shim) = shims.get(&socket).filter(|shim| !shim.is_known_dead()) {
            return if shim.join() { Ok(Arc::clone(shim)) } else { Err(Arc::clone(shim)) };
        }
        let shim = Shim::new(endpoint, bundle, recorded, self.config.timeouts);
        shims.insert(socket, Arc::clone(&shim));
        let (keeping, inner) = (Arc::clone(&shim), Arc::downgrade(self));
        tokio::spawn(async move {
            keeping.keep().await;
            if let Some(inner) = inner.upgrade() {
                inner.bury(&keeping).await;
            }
        });
        Ok(shim)
    }

    /// Takes back what a failed create left in the shim.
    async fn undo(self: &Arc<Self>, task: &ShimTask, error: &Error) {
        let timeouts = self.config.timeouts;
        let request = api::DeleteRequest { id: task.bundle.id.to_string(), exec_id: String::new() };
        let deleted: Result<api::DeleteResponse> = task.call("Delete", &request, timeouts.cleanup).await;
        let answers = matches!(&deleted, Ok(_) | Err(Error::Shim(_))) && matches!(error, Error::Shim(_));
        let went = !task.shim.leave() || self.shut_down(task).await;
        if !went {
            task.shim.kill();
            task.shim.dead(timeouts.shutdown).await;
        }
        if !answers || !went {
            self.clean(&task.program).await;
        }
    }

    /// Tells a shim that has no tasks to end.
    pub(crate) async fn dismiss(&self, task: &ShimTask) {
        let request = api::ShutdownRequest { id: task.bundle.id.to_string(), now: false };
        // It may end before it answers.
        let _: Result<()> = task.call("Shutdown", &request, self.config.timeouts.shutdown).await;
    }

    /// Tells a shim that has no tasks to end; true when it did in time.
    pub(crate) async fn shut_down(&self, task: &ShimTask) -> bool {
        self.dismiss(task).await;
        task.shim.dead(self.config.timeouts.shutdown).await
    }

    /// Runs the shim's program to clean up; what it complains of is logged.
    pub(crate) async fn clean(&self, program: &Program) -> Option<api::DeleteResponse> {
        let _permit = self.cleaners.acquire().await;
        let cleaned = program.delete(&self.config).await;
        cleaned
            .inspect_err(|error| tracing::warn!(id = %program.id, %error, "a shim could not be cleaned up after"))
            .ok()
    }

    /// Removes a bundle; what cannot be removed is logged, and tried again when its name is wanted.
    pub(crate) async fn remove(&self, bundle: &Bundle) {
        let removing = bundle.clone();
        if let Err(error) = blocking(move || removing.remove()).await {
            tracing::warn!(bundle = %bundle.path.display(), %error, "a bundle could not be removed");
        }
    }
}

/// Looks at a specification before anything is made of it.
pub(crate) fn checked(id: &Id, spec: &[u8]) -> Result<()> {
    let read = serde_json::from_slice::<HashMap<String, IgnoredAny>>(spec);
    read.map(drop).map_err(|source| Error::Spec { id: id.to_string(), source })
}

/// File work on its own thread.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Internal(format!("file work broke off: {error}"))))
}
