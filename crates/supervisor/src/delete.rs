//! The end of a task: deleted on request, or cleaned up after when its shim has died.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use wharf_api::containerd::task::v3 as api;
use wharf_ttrpc::{Code, Status as Answer};

use crate::convert::exit_in;
use crate::error::{Error, Result};
use crate::manager::{Inner, Key, Slot};
use crate::shim::Shim;
use crate::task::{ShimTask, unknown_exit};
use crate::{Exit, Status, Task as _, publish};

impl Inner {
    /// Deletes a task that has ended.
    pub(crate) async fn delete(self: &Arc<Self>, task: &Arc<ShimTask>) -> Result<Exit> {
        let request = api::DeleteRequest { id: task.bundle.id.to_string(), exec_id: String::new() };
        let deleted: Result<api::DeleteResponse> = task.call("Delete", &request, self.config.timeouts.slow).await;
        match deleted {
            Ok(response) => {
                let exit = exit_in(response);
                self.forget(task, exit).await;
                Ok(exit)
            }
            // Whoever cleans up after the shim says how it ended.
            Err(Error::Dead(_)) => Ok(task.gone().await),
            Err(Error::Shim(status)) if status.code == Code::NotFound => {
                self.forget(task, unknown_exit()).await;
                Err(Error::Shim(status))
            }
            Err(error) => Err(self.refusal(task, error).await),
        }
    }

    /// Some shims have no code of their own for a task that runs.
    async fn refusal(&self, task: &ShimTask, error: Error) -> Error {
        let Error::Shim(status) = &error else { return error };
        let runs = status.code == Code::Unknown
            && task.state("").await.is_ok_and(|state| !matches!(state.status, Status::Stopped | Status::Unknown));
        if runs { Error::Shim(Answer::new(Code::FailedPrecondition, status.message.clone())) } else { error }
    }

    /// Removes a task that the shim no longer has; the last of its shim ends that too.
    async fn forget(self: &Arc<Self>, task: &Arc<ShimTask>, exit: Exit) {
        if !task.claim() {
            return;
        }
        let leaving = self.leaving(key(task));
        task.end(exit);
        task.set_ready();
        let last = task.shim.leave();
        if last {
            // While the bundle stands, so that a daemon that is killed before this finds the shim again.
            self.dismiss(task).await;
            // One that takes the order removes its socket. One that was killed before has left that, and events to deliver.
            if task.shim.is_known_dead() && task.shim.socket().exists() {
                self.clean(&task.program).await;
            }
        }
        self.remove(&task.bundle).await;
        if last {
            let (shim, limit, id) = (Arc::clone(&task.shim), self.config.timeouts.shutdown, task.bundle.id.clone());
            // The name is free once the shim is gone: a new one of the same name would be sent to its socket.
            tokio::spawn(async move {
                if !shim.dead(limit).await {
                    tracing::warn!(%id, "a shim without tasks was told to end and has not yet");
                }
                drop(leaving);
            });
        }
    }

    /// Ends a task that nobody wants, whatever it does: the creator has gone, or a killed daemon left it half made.
    pub(crate) async fn discard(self: &Arc<Self>, task: &Arc<ShimTask>) {
        if !task.claim() {
            return;
        }
        let _leaving = self.leaving(key(task));
        let limit = self.config.timeouts.cleanup;
        let id = task.bundle.id.to_string();
        let kill = api::KillRequest { id: id.clone(), exec_id: String::new(), signal: 9, all: true };
        if task.call::<_, ()>("Kill", &kill, limit).await.is_ok() {
            let wait = api::WaitRequest { id: id.clone(), exec_id: String::new() };
            let _: Result<api::WaitResponse> = task.call("Wait", &wait, limit).await;
        }
        let delete = api::DeleteRequest { id, exec_id: String::new() };
        let deleted: Result<api::DeleteResponse> = task.call("Delete", &delete, limit).await;
        let exit = deleted.as_ref().map_or_else(|_| unknown_exit(), |response| exit_in(*response));
        let went = !task.shim.leave() || self.shut_down(task).await;
        if !went {
            task.shim.kill();
            task.shim.dead(self.config.timeouts.shutdown).await;
        }
        if deleted.is_err() || !went {
            self.clean(&task.program).await;
        }
        self.remove(&task.bundle).await;
        task.end(exit);
        task.set_ready();
    }

    /// Cleans up after a shim that has died: each of its tasks has ended, and whoever asks or listens is told.
    pub(crate) async fn bury(self: &Arc<Self>, shim: &Arc<Shim>) {
        {
            let mut shims = self.shims.lock().unwrap_or_else(PoisonError::into_inner);
            if shims.get(shim.socket()).is_some_and(|other| Arc::ptr_eq(other, shim)) {
                shims.remove(shim.socket());
            }
        }
        let tasks: Vec<_> = self
            .slots()
            .values()
            .filter_map(|slot| match slot {
                Slot::Task(task) if Arc::ptr_eq(&task.shim, shim) => Some(Arc::clone(task)),
                _ => None,
            })
            .collect();
        futures::future::join_all(tasks.iter().map(|task| self.bury_task(task))).await;
        self.bury_sandboxes(shim).await;
    }

    /// For those who have just made a shim's task known: the shim may have died before whoever cleans up could find it.
    pub(crate) fn bury_if_dead(self: &Arc<Self>, shim: &Arc<Shim>) {
        if shim.is_known_dead() {
            let (inner, shim) = (Arc::clone(self), Arc::clone(shim));
            tokio::spawn(async move { inner.bury(&shim).await });
        }
    }

    async fn bury_task(self: &Arc<Self>, task: &Arc<ShimTask>) {
        if !task.claim() {
            return;
        }
        tracing::warn!(namespace = %task.bundle.namespace, id = %task.bundle.id, "a shim has died: cleaning up after it");
        let exit = match self.clean(&task.program).await {
            Some(response) => {
                let at = response.exited_at.and_then(|at| SystemTime::try_from(at).ok());
                Exit {
                    at: at.filter(|at| *at > SystemTime::UNIX_EPOCH).unwrap_or_else(SystemTime::now),
                    ..exit_in(response)
                }
            }
            None => unknown_exit(),
        };
        let exit = if exit.pid == 0 { Exit { pid: task.pid(), ..exit } } else { exit };
        publish::ended(self.exchange.as_ref(), &task.bundle, exit);
        task.end(exit);
        let leaving = self.leaving(key(task));
        task.shim.leave();
        self.remove(&task.bundle).await;
        drop(leaving);
        task.set_ready();
    }
}

pub(crate) fn key(task: &ShimTask) -> Key {
    (task.bundle.namespace.clone(), task.bundle.id.clone())
}
