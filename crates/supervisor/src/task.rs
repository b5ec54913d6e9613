//! One task behind a shim.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use wharf_api::containerd::task::v3 as api;
use wharf_ttrpc::Code;
use wharf_types::{Any, Id, Namespace};

use crate::bundle::Bundle;
use crate::config::Timeouts;
use crate::convert::{any_in, any_out, exit_in, state_in, time_in};
use crate::error::{Error, Result};
use crate::logs::Log;
use crate::program::Program;
use crate::shim::Shim;
use crate::{Control, Exec, Exit, State, Status, Stdio, Task};

/// A task, as long as its shim has it.
#[derive(Debug)]
pub(crate) struct ShimTask {
    pub(crate) bundle: Bundle,
    pub(crate) program: Program,
    pub(crate) shim: Arc<Shim>,
    timeouts: Timeouts,
    pid: AtomicU32,
    /// How it ended, once it has been deleted or its shim has died.
    gone: watch::Sender<Option<Exit>>,
    /// The first attempt to reach it is over.
    ready: watch::Sender<bool>,
    claimed: AtomicBool,
    /// Read as long as the task is there.
    _log: Option<Log>,
}

impl ShimTask {
    pub(crate) fn new(bundle: Bundle, program: Program, shim: Arc<Shim>, timeouts: Timeouts) -> Self {
        let log = Log::open(&bundle.path, bundle.namespace.as_str(), bundle.id.as_str());
        if let Err(error) = &log {
            tracing::warn!(bundle = %bundle.path.display(), %error, "the log of a shim cannot be read");
        }
        Self {
            bundle,
            program,
            shim,
            timeouts,
            pid: AtomicU32::new(0),
            gone: watch::Sender::new(None),
            ready: watch::Sender::new(false),
            claimed: AtomicBool::new(false),
            _log: log.ok(),
        }
    }

    /// Takes the right and the duty to clean up; only the first who asks gets it.
    pub(crate) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// The first attempt to reach it is over, whatever came of it.
    pub(crate) fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// Waits for [`ShimTask::set_ready`].
    pub(crate) async fn ready(&self) {
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Answers all who wait for its end.
    pub(crate) fn end(&self, exit: Exit) {
        self.gone.send_replace(Some(exit));
    }

    /// How it ended; waits until it has been deleted or cleaned up after.
    pub(crate) async fn gone(&self) -> Exit {
        let gone = self.gone.subscribe().wait_for(Option::is_some).await.map(|exit| *exit);
        // The sender is in here: the channel cannot be closed.
        gone.ok().flatten().unwrap_or_else(unknown_exit)
    }

    /// Calls the shim.
    pub(crate) async fn call<Req, Resp>(&self, method: &str, request: &Req, limit: Duration) -> Result<Resp>
    where
        Req: prost::Message,
        Resp: prost::Message + Default,
    {
        self.shim.call(&self.bundle.id, method, request, limit).await
    }

    async fn quick<Req: prost::Message, Resp: prost::Message + Default>(
        &self,
        method: &str,
        request: &Req,
    ) -> Result<Resp> {
        self.call(method, request, self.timeouts.quick).await
    }

    async fn slow<Req: prost::Message, Resp: prost::Message + Default>(
        &self,
        method: &str,
        request: &Req,
    ) -> Result<Resp> {
        self.call(method, request, self.timeouts.slow).await
    }

    fn name(&self) -> String {
        self.bundle.id.to_string()
    }

    fn not_found(&self, exec: &str) -> Error {
        let name = if exec.is_empty() { self.name() } else { format!("{}/{exec}", self.bundle.id) };
        Error::NotFound(name)
    }

    /// One attempt to wait at the shim; `None` when the connection ended and it is to be tried again.
    async fn wait_once(&self, exec: &str) -> Result<Option<Exit>> {
        let Ok(client) = self.shim.heard().await else { return Ok(Some(self.end_of(exec).await)) };
        let request = api::WaitRequest { id: self.name(), exec_id: exec.to_owned() };
        let answer: Result<api::WaitResponse, _> = self.shim.call_over(&client, "Wait", &request).await;
        match answer {
            Ok(answer) => {
                let pid = if exec.is_empty() { self.pid() } else { self.pid_of(exec).await };
                Ok(Some(Exit { pid, status: answer.exit_status, at: time_in(answer.exited_at) }))
            }
            Err(_) if client.is_closed() => Ok(None),
            Err(status) => Err(Error::Shim(status)),
        }
    }

    async fn end_of(&self, exec: &str) -> Exit {
        let exit = self.gone().await;
        if exec.is_empty() { exit } else { Exit { pid: 0, ..exit } }
    }

    async fn pid_of(&self, exec: &str) -> u32 {
        let request = api::StateRequest { id: self.name(), exec_id: exec.to_owned() };
        let state: Result<api::StateResponse> = self.quick("State", &request).await;
        state.map_or(0, |state| state.pid)
    }
}

/// What is said of an end that nobody saw.
pub(crate) fn unknown_exit() -> Exit {
    Exit { pid: 0, status: 255, at: std::time::SystemTime::now() }
}

#[async_trait]
impl Task for ShimTask {
    fn id(&self) -> &Id {
        &self.bundle.id
    }

    fn namespace(&self) -> &Namespace {
        &self.bundle.namespace
    }

    fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    async fn start(&self, exec: &str) -> Result<u32> {
        let request = api::StartRequest { id: self.name(), exec_id: exec.to_owned() };
        let answer: api::StartResponse = self.slow("Start", &request).await?;
        if exec.is_empty() {
            self.set_pid(answer.pid);
        }
        Ok(answer.pid)
    }

    async fn state(&self, exec: &str) -> Result<State> {
        let request = api::StateRequest { id: self.name(), exec_id: exec.to_owned() };
        match self.quick("State", &request).await {
            Ok(state) => Ok(state_in(state)),
            Err(Error::Dead(_)) if exec.is_empty() => {
                let exit = tokio::time::timeout(self.timeouts.cleanup, self.gone()).await.ok();
                Ok(State { pid: self.pid(), status: Status::Stopped, io: Stdio::default(), exit })
            }
            Err(Error::Dead(_)) => Err(self.not_found(exec)),
            Err(Error::Silent { .. }) if exec.is_empty() => {
                Ok(State { pid: self.pid(), status: Status::Unknown, io: Stdio::default(), exit: None })
            }
            Err(error) => Err(error),
        }
    }

    async fn kill(&self, exec: &str, signal: u32, all: bool) -> Result<()> {
        let request = api::KillRequest { id: self.name(), exec_id: exec.to_owned(), signal, all };
        match self.quick("Kill", &request).await {
            Err(Error::Dead(_)) => Err(self.not_found(exec)),
            answer => answer,
        }
    }

    async fn wait(&self, exec: &str) -> Result<Exit> {
        loop {
            tokio::select! {
                exit = self.end_of(exec) => return Ok(exit),
                once = self.wait_once(exec) => if let Some(exit) = once? {
                    return Ok(exit);
                }
            }
        }
    }

    async fn exec(&self, exec: &str, process: Exec) -> Result<()> {
        let exec_id: Id = exec.parse()?;
        let request = api::ExecProcessRequest {
            id: self.name(),
            exec_id: exec_id.to_string(),
            terminal: process.io.terminal,
            stdin: process.io.stdin,
            stdout: process.io.stdout,
            stderr: process.io.stderr,
            spec: process.spec.as_ref().map(any_out),
        };
        self.slow("Exec", &request).await
    }

    async fn delete_exec(&self, exec: &str) -> Result<Exit> {
        // An empty name would be the task itself, which has its own way out.
        let exec: Id = exec.parse()?;
        let request = api::DeleteRequest { id: self.name(), exec_id: exec.to_string() };
        match self.slow("Delete", &request).await {
            Ok(response) => Ok(exit_in(response)),
            Err(Error::Dead(_)) => Err(self.not_found(exec.as_str())),
            Err(error) => Err(error),
        }
    }

    async fn control(&self, control: Control) -> Result<()> {
        let id = self.name();
        match control {
            Control::Pause => self.slow("Pause", &api::PauseRequest { id }).await,
            Control::Resume => self.slow("Resume", &api::ResumeRequest { id }).await,
            Control::Resize { exec: exec_id, width, height } => {
                self.quick("ResizePty", &api::ResizePtyRequest { id, exec_id, width, height }).await
            }
            Control::CloseStdin { exec: exec_id } => {
                self.quick("CloseIO", &api::CloseIoRequest { id, exec_id, stdin: true }).await
            }
            Control::Update { resources, annotations } => {
                let annotations = annotations.into_iter().collect();
                let resources = resources.as_ref().map(any_out);
                self.slow("Update", &api::UpdateTaskRequest { id, resources, annotations }).await
            }
            Control::Checkpoint { path, options } => {
                let (path, options) = (path.display().to_string(), options.as_ref().map(any_out));
                let request = api::CheckpointTaskRequest { id, path, options };
                self.call("Checkpoint", &request, self.timeouts.slow * 15).await
            }
        }
    }

    async fn pids(&self) -> Result<Vec<(u32, Option<Any>)>> {
        let answer: api::PidsResponse = self.slow("Pids", &api::PidsRequest { id: self.name() }).await?;
        Ok(answer.processes.into_iter().map(|process| (process.pid, process.info.map(any_in))).collect())
    }

    async fn metrics(&self) -> Result<Any> {
        let answer: api::StatsResponse = self.quick("Stats", &api::StatsRequest { id: self.name() }).await?;
        answer.stats.map(any_in).ok_or_else(|| {
            Error::Shim(wharf_ttrpc::Status::new(
                Code::Internal,
                format!("task {}: its shim sent no metrics", self.name()),
            ))
        })
    }
}
