//! Containers whose labels ask for it are started again when they end (containerd: `plugins/restart`; `nerdctl run --restart`).
//!
//! It looks at all of them once in an interval. What is between two states, by a client's doing or a shim's silence, is left
//! alone until the next look.

mod policy;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use policy::{COUNT, Decision, LOG_URI, STATUS, decide};
use tokio::task::JoinSet;
use wharf_metadata::Container;
use wharf_server::Services;
use wharf_supervisor::{CreateTask, Exit, Status, Stdio, Task};
use wharf_types::{ErrorKind, Filters, Id, Kind, Namespace};

/// How long a task that was killed may take to end before the next look has to deal with it.
const KILLED: Duration = Duration::from_secs(10);

/// Looks at all containers once in `interval`, for as long as the future is polled.
pub(crate) async fn run(services: Services, interval: Duration) {
    let mut looks = tokio::time::interval(interval);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match wanted(services.clone()).await {
            Ok(containers) => look(&services, containers, interval).await,
            Err(error) => tracing::error!("restarts: {error:#}"),
        }
    }
}

/// Every container that says in which state it should be.
async fn wanted(services: Services) -> Result<Vec<(Namespace, Container)>> {
    let find = move || {
        let filters = Filters::parse(&[format!("labels.{STATUS:?}")])?;
        let mut found = Vec::new();
        for namespace in services.namespaces.list()? {
            services.containers.walk(&namespace.name, &filters, &mut |container| {
                found.push((namespace.name.clone(), container));
                Ok(())
            })?;
        }
        anyhow::Ok(found)
    };
    tokio::task::spawn_blocking(find).await?.context("list the containers that are to be restarted")
}

/// Does what each needs, all at once.
async fn look(services: &Services, containers: Vec<(Namespace, Container)>, interval: Duration) {
    let mut work = JoinSet::new();
    for (namespace, container) in containers {
        let services = services.clone();
        work.spawn(async move {
            let id = container.id.clone();
            if let Err(error) = one(&services, &namespace, container, interval).await {
                tracing::error!(%namespace, id, "restarts: {error:#}");
            }
        });
    }
    while work.join_next().await.is_some() {}
}

async fn one(services: &Services, namespace: &Namespace, container: Container, interval: Duration) -> Result<()> {
    let task = match services.tasks.get(namespace, &container.id).await {
        Ok(task) => Some(task),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("find its task"),
    };
    let state = match &task {
        Some(task) => Some(task.state("").await.context("ask for its state")?),
        None => None,
    };
    if task.is_none() && container.created_at.elapsed().is_ok_and(|age| age < interval) {
        // Whoever made it is about to run it.
        return Ok(());
    }
    let exit = state.as_ref().and_then(|state| state.exit).map(|exit| exit.status);
    match decide(&container.labels, state.map(|state| state.status), exit) {
        Decision::Leave => Ok(()),
        Decision::Stop => end(services, namespace, &container.id, task).await.map(drop).context("stop it"),
        Decision::Start { count } => {
            tracing::info!(%namespace, id = container.id, count, exit, "a container is restarted");
            start(services, namespace, container, task, count).await
        }
    }
}

/// Starts a container again, whatever was left of its task.
async fn start(
    services: &Services,
    namespace: &Namespace,
    container: Container,
    task: Option<std::sync::Arc<dyn Task>>,
    count: u32,
) -> Result<()> {
    let id: Id = container.id.parse().context("read its id")?;
    let (recording, name, counted) = (services.clone(), namespace.clone(), container.clone());
    let rootfs = tokio::task::spawn_blocking(move || record(&recording, &name, counted, count)).await??;
    end(services, namespace, &container.id, task).await.context("remove its task")?;
    let spec = container.spec.context("its record has no runtime specification")?.value;
    let io = stdio(container.labels.get(LOG_URI), &spec)?;
    let (runtime, options) = (container.runtime.name, container.runtime.options);
    let create = CreateTask { spec, rootfs, io, runtime, options, ..CreateTask::default() };
    let task = services.tasks.create(namespace, &id, create).await.context("create its task")?;
    task.start("").await.context("start its task")?;
    Ok(())
}

/// Counts the restart, and says what the root filesystem is. Blocks.
fn record(
    services: &Services,
    namespace: &Namespace,
    mut container: Container,
    count: u32,
) -> Result<Vec<wharf_types::Mount>> {
    let (snapshotter, key) = (container.snapshotter.clone(), container.snapshot_key.clone());
    container.labels.insert(COUNT.to_owned(), count.to_string());
    services.change_container(namespace, container, &[format!("labels.{COUNT}")]).context("count the restart")?;
    if key.is_empty() {
        // Its specification names a directory.
        return Ok(Vec::new());
    }
    let snapshotter = services.stores.snapshotter(namespace, &snapshotter, None)?;
    snapshotter.mounts(&key).with_context(|| format!("find its snapshot {key:?}"))
}

/// Where the output goes: to the label's URI, or nowhere.
fn stdio(log: Option<&String>, spec: &[u8]) -> Result<Stdio> {
    let spec: serde_json::Value = serde_json::from_slice(spec).context("read its runtime specification")?;
    let terminal = spec.pointer("/process/terminal").and_then(serde_json::Value::as_bool).unwrap_or_default();
    let log = log.cloned().unwrap_or_default();
    // A terminal has one output.
    let stderr = if terminal { String::new() } else { log.clone() };
    Ok(Stdio { stdin: String::new(), stdout: log, stderr, terminal })
}

/// Kills what runs, and removes the task.
async fn end(
    services: &Services,
    namespace: &Namespace,
    id: &str,
    task: Option<std::sync::Arc<dyn Task>>,
) -> Result<Exit> {
    let nobody = Exit { pid: 0, status: 0, at: SystemTime::UNIX_EPOCH };
    let Some(task) = task else { return Ok(nobody) };
    if task.state("").await.is_ok_and(|state| state.status != Status::Stopped) {
        match task.kill("", 9, true).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context("kill it"),
            _ => {}
        }
        tokio::time::timeout(KILLED, task.wait("")).await.context("it was killed and does not end")??;
    }
    match services.tasks.delete(namespace, id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(nobody),
        deleted => Ok(deleted?),
    }
}
