//! The task API, versions 2 and 3, which differ in their package's name only.

use std::sync::Arc;

use prost::Message;
use wharf_api::containerd::runc::v1::ProcessDetails;
use wharf_api::containerd::task::v3 as api;
use wharf_api::containerd::v1::types::{ProcessInfo, Status as TaskStatus};
use wharf_runtime::Runtime as _;
use wharf_ttrpc::{BoxFuture, Code, Context, Handler, Status};
use wharf_types::Kind as _;

use crate::container::Container;
use crate::error::{self, Error, Result};
use crate::ledger::Exit;
use crate::process::Process;
use crate::shim::Shim;
use crate::stats;
use crate::time::timestamp;

/// The task service of a shim.
pub(crate) struct TaskService {
    shim: Arc<Shim>,
}

impl TaskService {
    pub(crate) fn new(shim: Arc<Shim>) -> Self {
        Self { shim }
    }
}

impl Handler for TaskService {
    fn call<'a>(
        &'a self,
        _: Context,
        method: &'a str,
        payload: bytes::Bytes,
    ) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let shim = self.shim.clone();
            if method == "Wait" {
                return answer(wait(&shim, decode(&payload)?).await);
            }
            // In a task of its own: a caller who gives up must not leave a creation half done.
            let method = method.to_owned();
            let done = tokio::spawn(async move { dispatch(&shim, &method, &payload).await }).await;
            done.unwrap_or_else(|e| Err(Status::new(Code::Internal, format!("the shim's call ended early: {e}"))))
        })
    }
}

async fn dispatch(shim: &Arc<Shim>, method: &str, payload: &[u8]) -> Result<Vec<u8>, Status> {
    match method {
        "State" => answer(state(shim, decode(payload)?).await),
        "Create" => {
            answer(Box::pin(Container::create(shim, decode(payload)?)).await.map(|pid| api::CreateTaskResponse { pid }))
        }
        "Start" => answer(start(shim, decode(payload)?).await),
        "Delete" => answer(delete(shim, decode(payload)?).await),
        "Pids" => answer(pids(shim, decode(payload)?).await),
        "Pause" => answer(pause(shim, decode(payload)?).await),
        "Resume" => answer(resume(shim, decode(payload)?).await),
        "Checkpoint" => answer::<()>(Err(Error::Unimplemented("checkpoints are not built".into()))),
        "Kill" => answer(kill(shim, decode(payload)?).await),
        "Exec" => answer(exec(shim, decode(payload)?).await),
        "ResizePty" => answer(resize(shim, decode(payload)?).await),
        "CloseIO" => answer(close_io(shim, decode(payload)?).await),
        "Update" => answer(update(shim, decode(payload)?).await),
        "Stats" => answer(sample(shim, decode(payload)?).await),
        "Connect" => answer(connect(shim, decode(payload)?)),
        "Shutdown" => answer(shutdown(shim, decode(payload)?)),
        other => Err(Status::unknown_method(other)),
    }
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Status> {
    M::decode(payload).map_err(|e| Status::new(Code::InvalidArgument, format!("the request cannot be read: {e}")))
}

fn answer<M: Message>(result: Result<M>) -> Result<Vec<u8>, Status> {
    match result {
        Ok(message) => Ok(message.encode_to_vec()),
        Err(error) => Err(Status::new(Code::from_i32(error.kind().code()), error::chain(&error))),
    }
}

async fn state(shim: &Shim, request: api::StateRequest) -> Result<api::StateResponse> {
    let container = shim.container(&request.id).await?;
    let process = container.process(&request.exec_id)?;
    let exit = process.exit();
    Ok(api::StateResponse {
        id: request.id,
        bundle: container.bundle.to_string_lossy().into_owned(),
        pid: process.pid(),
        status: status(&container, &process).into(),
        stdin: process.names.stdin.clone(),
        stdout: process.names.stdout.clone(),
        stderr: process.names.stderr.clone(),
        terminal: process.names.terminal,
        exit_status: exit.map_or(0, |e| e.status),
        exited_at: exit.map(|e| timestamp(e.at)),
        exec_id: request.exec_id,
    })
}

fn status(container: &Container, process: &Process) -> TaskStatus {
    // An additional process that could not be started, or was not in time, is no more than its name.
    let named = !process.exec.is_empty() && !process.is_started();
    if process.exit().is_some() && !named {
        TaskStatus::Stopped
    } else if !process.is_started() {
        TaskStatus::Created
    } else if container.is_paused() {
        TaskStatus::Paused
    } else {
        TaskStatus::Running
    }
}

async fn start(shim: &Arc<Shim>, request: api::StartRequest) -> Result<api::StartResponse> {
    let container = shim.container(&request.id).await?;
    let pid = match request.exec_id.as_str() {
        "" => container.start(shim).await?,
        exec => container.exec_start(shim, exec).await?,
    };
    Ok(api::StartResponse { pid })
}

async fn delete(shim: &Shim, request: api::DeleteRequest) -> Result<api::DeleteResponse> {
    let container = shim.container(&request.id).await?;
    let Exit { pid, status, at } = match request.exec_id.as_str() {
        "" => container.delete(shim).await?,
        exec => container.exec_delete(exec)?,
    };
    Ok(api::DeleteResponse { pid, exit_status: status, exited_at: Some(timestamp(at)) })
}

async fn pids(shim: &Shim, request: api::PidsRequest) -> Result<api::PidsResponse> {
    let container = shim.container(&request.id).await?;
    let execs = container.execs();
    let details = |pid| {
        let exec = execs.iter().find(|e| e.process.pid() == pid)?;
        let value = ProcessDetails { exec_id: exec.process.exec.clone() }.encode_to_vec();
        Some(prost_types::Any { type_url: "containerd.runc.v1.ProcessDetails".into(), value })
    };
    let pids = container.runtime.ps(&container.id).await?;
    Ok(api::PidsResponse { processes: pids.into_iter().map(|pid| ProcessInfo { pid, info: details(pid) }).collect() })
}

async fn pause(shim: &Shim, request: api::PauseRequest) -> Result<()> {
    shim.container(&request.id).await?.pause(shim).await
}

async fn resume(shim: &Shim, request: api::ResumeRequest) -> Result<()> {
    shim.container(&request.id).await?.resume(shim).await
}

async fn kill(shim: &Shim, request: api::KillRequest) -> Result<()> {
    if request.signal > 64 {
        return Err(Error::invalid(format!("{} is not the number of a signal", request.signal)));
    }
    let container = shim.container(&request.id).await?;
    match request.exec_id.as_str() {
        "" => container.kill(request.signal, request.all).await,
        exec => container.process(exec)?.signal(request.signal),
    }
}

async fn exec(shim: &Shim, request: api::ExecProcessRequest) -> Result<()> {
    shim.container(&request.id).await?.exec_add(shim, request)
}

async fn resize(shim: &Shim, request: api::ResizePtyRequest) -> Result<()> {
    shim.container(&request.id).await?.process(&request.exec_id)?.resize(request.width, request.height)
}

async fn close_io(shim: &Shim, request: api::CloseIoRequest) -> Result<()> {
    let process = shim.container(&request.id).await?.process(&request.exec_id)?;
    if request.stdin {
        process.close_input();
    }
    Ok(())
}

async fn update(shim: &Shim, request: api::UpdateTaskRequest) -> Result<()> {
    let container = shim.container(&request.id).await?;
    let resources = request.resources.ok_or_else(|| Error::invalid("the update names no resources"))?;
    Ok(container.runtime.update(&container.id, resources.value).await?)
}

async fn wait(shim: &Shim, request: api::WaitRequest) -> Result<api::WaitResponse> {
    let process = shim.container(&request.id).await?.process(&request.exec_id)?;
    let exit = process.wait().await;
    Ok(api::WaitResponse { exit_status: exit.status, exited_at: Some(timestamp(exit.at)) })
}

async fn sample(shim: &Shim, request: api::StatsRequest) -> Result<api::StatsResponse> {
    let container = shim.container(&request.id).await?;
    Ok(api::StatsResponse { stats: Some(stats::sample(&container.cgroup)?) })
}

fn connect(shim: &Shim, request: api::ConnectRequest) -> Result<api::ConnectResponse> {
    // Whoever asks wants the shim, which is here before its containers are.
    let task_pid = shim.created(&request.id).map_or(0, |c| c.init.pid());
    let version = env!("CARGO_PKG_VERSION").into();
    Ok(api::ConnectResponse { shim_pid: std::process::id(), task_pid, version })
}

fn shutdown(shim: &Shim, request: api::ShutdownRequest) -> Result<()> {
    // A shim with containers in it goes on, as a pod's does when one of them is removed.
    if request.now || shim.is_empty() {
        shim.stop();
    }
    Ok(())
}
