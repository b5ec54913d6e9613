//! Looking at many tasks at once: one that does not answer delays no other for longer than it has to.

use std::sync::Arc;
use std::time::SystemTime;

use futures::{FutureExt, StreamExt, stream};
use wharf_api::containerd::types::Metric;
pub(super) use wharf_api::containerd::v1::types::ProcessInfo;
use wharf_api::containerd::v1::types::{Process, Status};
use wharf_supervisor::{State, Task};
use wharf_types::filter::FieldsFn;
use wharf_types::{ErrorKind, Filters, Kind};

use crate::convert::{any, timestamp};

/// How many shims are asked at once.
const CONCURRENCY: usize = 64;

/// The first processes of `tasks`, in their order. A task that is deleted meanwhile is left out, one whose shim does not
/// answer is of unknown status.
pub(super) async fn processes(tasks: Vec<Arc<dyn Task>>, filters: &Filters) -> Vec<Process> {
    let looks: Vec<_> = tasks.into_iter().map(|task| first_process(task).boxed()).collect();
    let all: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
    let wanted = |process: &Process| {
        filters.matches(&FieldsFn(|path: &[&str]| match path {
            ["id" | "container_id"] => Some(process.container_id.clone()),
            ["pid"] => Some(process.pid.to_string()),
            ["status"] => Some(process.status().as_str_name().to_lowercase()),
            _ => None,
        }))
    };
    all.into_iter().flatten().filter(wanted).collect()
}

async fn first_process(task: Arc<dyn Task>) -> Option<Process> {
    let id = task.id().to_string();
    match task.state("").await {
        Ok(state) => Some(process(id.clone(), id, state)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(namespace = %task.namespace(), id, %error, "a task does not answer");
            Some(Process { container_id: id.clone(), id, pid: task.pid(), ..Process::default() })
        }
    }
}

/// What the tasks use that `filters` match (fields: `id`, `namespace`). Those that do not run use nothing.
pub(super) async fn metrics(tasks: Vec<Arc<dyn Task>>, filters: &Filters) -> Vec<Metric> {
    let wanted = |task: &Arc<dyn Task>| {
        filters.matches(&FieldsFn(|path: &[&str]| match path {
            ["id"] => Some(task.id().to_string()),
            ["namespace"] => Some(task.namespace().to_string()),
            _ => None,
        }))
    };
    let looks: Vec<_> = tasks.into_iter().filter(wanted).map(|task| metrics_of(task).boxed()).collect();
    let all: Vec<_> = stream::iter(looks).buffered(CONCURRENCY).collect().await;
    all.into_iter().flatten().collect()
}

async fn metrics_of(task: Arc<dyn Task>) -> Option<Metric> {
    let at = SystemTime::now();
    match task.metrics().await {
        Ok(data) => Some(Metric { timestamp: Some(timestamp(at)), id: task.id().to_string(), data: Some(any(data)) }),
        Err(error) => {
            tracing::debug!(namespace = %task.namespace(), id = %task.id(), %error, "no metrics of a task");
            None
        }
    }
}

/// A process as every task API shows it.
pub(super) fn process(container_id: String, id: String, state: State) -> Process {
    let status = match state.status {
        wharf_supervisor::Status::Unknown => Status::Unknown,
        wharf_supervisor::Status::Created => Status::Created,
        wharf_supervisor::Status::Running => Status::Running,
        wharf_supervisor::Status::Stopped => Status::Stopped,
        wharf_supervisor::Status::Paused => Status::Paused,
        wharf_supervisor::Status::Pausing => Status::Pausing,
    };
    Process {
        container_id,
        id,
        pid: state.pid,
        status: status.into(),
        stdin: state.io.stdin,
        stdout: state.io.stdout,
        stderr: state.io.stderr,
        terminal: state.io.terminal,
        exit_status: state.exit.map(|exit| exit.status).unwrap_or_default(),
        exited_at: state.exit.map(|exit| timestamp(exit.at)),
    }
}
