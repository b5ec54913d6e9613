//! The end of a process: reaped, its output drained, written down if it is the first one, told; in this order.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wharf_api::containerd::events::TaskExit;
use wharf_runtime::{Child, Runtime as _};

use crate::container::Container;
use crate::ledger::{self, Exit};
use crate::oom;
use crate::process::Process;
use crate::shim::{Shim, warn};
use crate::time::timestamp;

/// How long the end of a first process waits for the ends of the others to be told before it.
const OTHERS: Duration = Duration::from_secs(2);

/// Sees a process to its end.
pub(crate) fn watch(shim: &Arc<Shim>, container: &Arc<Container>, process: &Arc<Process>) {
    let Some(child) = process.child() else { return };
    let (shim, container, process) = (shim.clone(), container.clone(), process.clone());
    tokio::spawn(async move { end(&shim, &container, &process, &child).await });
}

async fn end(shim: &Shim, container: &Container, process: &Process, child: &Child) {
    let status = match child.wait().await {
        Ok(ended) => ended.status(),
        Err(error) => {
            warn(&format!("process {} cannot be waited for: {error}", child.pid()));
            255
        }
    };
    let exit = Exit { pid: child.pid(), status, at: SystemTime::now() };
    let _gate = process.gate.lock().await;
    let first = process.exec.is_empty();
    if first && !container.own_pids {
        // Without a pid namespace of their own the others live on; with nobody to speak for them they must not.
        let _ = container.runtime.kill(&container.id, 9, true).await;
    }
    process.drain().await;
    if first {
        if let Err(error) = ledger::append(&container.bundle, exit) {
            warn(&error.to_string());
        }
        let others = async {
            for exec in container.execs() {
                // While one is being started nobody knows yet whether it will have an end to be told.
                drop(exec.process.gate.lock().await);
                if exec.process.is_started() {
                    exec.process.wait().await;
                }
            }
        };
        let _ = tokio::time::timeout(OTHERS, others).await;
    }
    oom::check(shim, container);
    shim.publish("/tasks/exit", "TaskExit", &event(&container.id, &process.exec, exit));
    process.set_exit(exit);
}

fn event(container: &str, exec: &str, exit: Exit) -> TaskExit {
    TaskExit {
        container_id: container.to_owned(),
        // containerd names the first process by its container's id here.
        id: if exec.is_empty() { container.to_owned() } else { exec.to_owned() },
        pid: exit.pid,
        exit_status: exit.status,
        exited_at: Some(timestamp(exit.at)),
    }
}
