//! After a restart: every bundle is taken up, or cleaned up after.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use wharf_types::{ErrorKind, Id, Kind as _, Namespace};

use crate::bootstrap::Endpoint;
use crate::bundle::{self, Bundle, PLUGIN, SANDBOXES};
use crate::config::Config;
use crate::create::blocking;
use crate::error::{Error, Result};
use crate::manager::{Inner, Slot};
use crate::program::{self, Program};
use crate::task::ShimTask;
use crate::watch::Process;
use crate::{Status, Task as _, runtime};

/// A bundle as a daemon left it.
struct Found {
    bundle: Bundle,
    program: Option<Program>,
    endpoint: Option<Endpoint>,
    process: Option<Process>,
}

impl Inner {
    pub(crate) async fn restore(self: &Arc<Self>) -> Result<()> {
        let config = self.config.clone();
        let (sandboxes, tasks) = blocking(move || Ok((scan(&config, SANDBOXES)?, scan(&config, PLUGIN)?))).await?;
        for found in sandboxes {
            self.restore_sandbox(found);
        }
        for found in tasks {
            self.take_up(found);
        }
        Ok(())
    }

    fn restore_sandbox(self: &Arc<Self>, found: Found) {
        let Found { bundle, program, endpoint, process } = found;
        if let (Some(program), Some(endpoint)) = (program.clone(), endpoint)
            && self.take_up_sandbox(bundle.clone(), program, endpoint, process)
        {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            tracing::info!(namespace = %bundle.namespace, id = %bundle.id, "a sandbox's bundle without a shim: removed");
            if let Some(program) = &program {
                inner.clean(program).await;
            }
            inner.remove(&bundle).await;
        });
    }

    fn take_up(self: &Arc<Self>, found: Found) {
        let key = (found.bundle.namespace.clone(), found.bundle.id.clone());
        let shim = match (&found.endpoint, &found.program) {
            (Some(endpoint), Some(_)) => self.shim_at(endpoint, &found.bundle, found.process).ok(),
            _ => None,
        };
        let (Some(shim), Some(program)) = (shim, found.program.clone()) else { return self.sweep(found) };
        let task = Arc::new(ShimTask::new(found.bundle, program, shim, self.config.timeouts));
        self.slots().insert(key, Slot::Task(Arc::clone(&task)));
        self.bury_if_dead(&task.shim);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            inner.settle(&task).await;
            task.set_ready();
        });
    }

    /// Hears from a task's shim, as often as it takes, what it has; a task that it knows nothing of was never made.
    async fn settle(self: &Arc<Self>, task: &Arc<ShimTask>) {
        loop {
            match task.state("").await {
                Ok(state) if state.status == Status::Unknown => {}
                Ok(state) => {
                    task.set_pid(state.pid);
                    if let Some(process) = task.shim.process() {
                        let bundle = task.bundle.clone();
                        let _ = blocking(move || bundle.keep_process(process)).await;
                    }
                    return;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tracing::info!(id = %task.bundle.id, "a daemon was killed before this task was made: removed");
                    return self.discard(task).await;
                }
                // It answers, and what it says is no reason to take it away.
                Err(error) => {
                    tracing::warn!(id = %task.bundle.id, %error, "a shim is kept though it does not tell its task's state");
                    return;
                }
            }
            // Silent. The task is kept, and nobody waits for it any longer.
            tracing::warn!(namespace = %task.bundle.namespace, id = %task.bundle.id, "a shim does not answer; it is kept");
            task.set_ready();
            if task.shim.heard().await.is_err() {
                return;
            }
        }
    }

    /// Removes a bundle whose shim was never started, or cannot be asked.
    fn sweep(self: &Arc<Self>, found: Found) {
        let bundle = found.bundle;
        if found.process.is_some_and(Process::lives) {
            tracing::error!(bundle = %bundle.path.display(), "a shim lives, but nothing says where it serves: left alone");
            return;
        }
        let leaving = self.leaving((bundle.namespace.clone(), bundle.id.clone()));
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            tracing::info!(namespace = %bundle.namespace, id = %bundle.id, "a bundle without a shim: removed");
            if let Some(program) = &found.program {
                inner.clean(program).await;
            }
            inner.remove(&bundle).await;
            drop(leaving);
        });
    }
}

/// Lists all bundles, and removes what daemons that were killed left half made or half removed. Blocks.
fn scan(config: &Config, plugin: &str) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for namespace in names(&config.state.join(plugin))? {
        for id in names(&config.state.join(plugin).join(namespace.as_str()))? {
            found.push(inspect(config, plugin, &namespace, &id));
        }
    }
    let known = |namespace: &Namespace, id: &Id| {
        found.iter().any(|found| found.bundle.namespace == *namespace && found.bundle.id == *id)
    };
    // Work directories outlive a boot, bundles do not.
    for namespace in names(&config.root.join(plugin))? {
        let dir = config.root.join(plugin).join(namespace.as_str());
        for id in names(&dir)?.into_iter().filter(|id| !known(&namespace, id)) {
            log(bundle::sweep(&dir.join(id.as_str())));
        }
    }
    Ok(found)
}

fn inspect(config: &Config, plugin: &str, namespace: &Namespace, id: &Id) -> Found {
    let bundle = Bundle::below(plugin, config, namespace, id);
    let path = program::recorded(&bundle.path).or_else(|| runtime::shim_of(config, "").ok());
    Found {
        program: path.map(|path| Program::new(path, &bundle)),
        endpoint: bundle.endpoint(),
        process: bundle.process(),
        bundle,
    }
}

/// The identifiers in a directory; a missing one has none. Names with a dot in front are leftovers and removed.
fn names(dir: &Path) -> Result<Vec<Id>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| Error::io("list", dir, error))?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("list", dir, error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            log(bundle::sweep(&entry.path()));
        } else if let Ok(id) = name.parse() {
            ids.push(id);
        } else {
            tracing::warn!(path = %entry.path().display(), "no bundle of ours: left alone");
        }
    }
    Ok(ids)
}

fn log(done: Result<()>) {
    if let Err(error) = done {
        tracing::warn!(%error, "a leftover could not be removed");
    }
}
