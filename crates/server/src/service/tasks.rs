//! Running containers and the processes in them.

mod create;
mod look;
mod rootfs;

use std::path::Path;
use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::tasks::v1 as api;
use wharf_supervisor::{Control, Exec, Exit, Stdio, Task};

use crate::Services;
use crate::blocking::to_the_end;
use crate::call::{Call, id};
use crate::convert::{self, any, from_any, timestamp};
use crate::refuse::{refuse, unimplemented};

/// Over [`wharf_supervisor::TaskManager`].
pub(crate) struct Tasks(pub(crate) Services);

impl Tasks {
    /// The task of a container of the caller's namespace.
    async fn task(&self, call: &Call, container: &str) -> Result<Arc<dyn Task>, Status> {
        self.0.tasks.get(&call.namespace, container).await.map_err(refuse)
    }

    /// Asks something of a task and waits until it is done, also when the client is gone.
    async fn control(&self, call: Call, container: &str, control: Control) -> Result<Response<()>, Status> {
        let task = self.task(&call, container).await?;
        to_the_end(async move { task.control(control).await.map_err(refuse) }).await?;
        Ok(Response::new(()))
    }
}

#[async_trait]
impl api::tasks_server::Tasks for Tasks {
    async fn create(
        &self,
        request: Request<api::CreateTaskRequest>,
    ) -> Result<Response<api::CreateTaskResponse>, Status> {
        let (call, services) = (Call::of(&request)?, self.0.clone());
        let request = request.into_inner();
        let container_id = request.container_id.clone();
        // Given up, it is undone: the supervisor makes it whole first.
        let task = create::create(services, call, request).await?;
        Ok(Response::new(api::CreateTaskResponse { container_id, pid: task.pid() }))
    }

    async fn start(&self, request: Request<api::StartRequest>) -> Result<Response<api::StartResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let task = self.task(&call, &request.container_id).await?;
        let pid = to_the_end(async move { task.start(&request.exec_id).await.map_err(refuse) }).await?;
        Ok(Response::new(api::StartResponse { pid }))
    }

    async fn delete(&self, request: Request<api::DeleteTaskRequest>) -> Result<Response<api::DeleteResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let services = self.0.clone();
        let exit = to_the_end(async move {
            let exit = services.tasks.delete(&call.namespace, &request.container_id).await.map_err(refuse)?;
            rootfs::unmount(&services, &call.namespace, &request.container_id).await;
            Ok(exit)
        })
        .await?;
        Ok(Response::new(deleted(String::new(), exit)))
    }

    async fn delete_process(
        &self,
        request: Request<api::DeleteProcessRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let task = self.task(&call, &request.container_id).await?;
        let exec = request.exec_id.clone();
        let exit = to_the_end(async move { task.delete_exec(&request.exec_id).await.map_err(refuse) }).await?;
        Ok(Response::new(deleted(exec, exit)))
    }

    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::GetResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let task = self.task(&call, &request.container_id).await?;
        let state = task.state(&request.exec_id).await.map_err(refuse)?;
        let id = if request.exec_id.is_empty() { request.container_id.clone() } else { request.exec_id };
        Ok(Response::new(api::GetResponse { process: Some(look::process(request.container_id, id, state)) }))
    }

    async fn list(&self, request: Request<api::ListTasksRequest>) -> Result<Response<api::ListTasksResponse>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filter(&request.into_inner().filter)?;
        let tasks = look::processes(self.0.tasks.list(&call.namespace).await, &filters).await;
        Ok(Response::new(api::ListTasksResponse { tasks }))
    }

    async fn kill(&self, request: Request<api::KillRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let task = self.task(&call, &request.container_id).await?;
        to_the_end(async move { task.kill(&request.exec_id, request.signal, request.all).await.map_err(refuse) })
            .await?;
        Ok(Response::new(()))
    }

    async fn exec(&self, request: Request<api::ExecProcessRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        id(&request.exec_id)?;
        let task = self.task(&call, &request.container_id).await?;
        let io =
            Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let process = Exec { spec: request.spec.map(from_any), io };
        to_the_end(async move { task.exec(&request.exec_id, process).await.map_err(refuse) }).await?;
        Ok(Response::new(()))
    }

    async fn resize_pty(&self, request: Request<api::ResizePtyRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let control = Control::Resize { exec: request.exec_id, width: request.width, height: request.height };
        self.control(call, &request.container_id, control).await
    }

    async fn close_io(&self, request: Request<api::CloseIoRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        if !request.stdin {
            // Nothing else can be closed.
            self.task(&call, &request.container_id).await?;
            return Ok(Response::new(()));
        }
        self.control(call, &request.container_id, Control::CloseStdin { exec: request.exec_id }).await
    }

    async fn pause(&self, request: Request<api::PauseTaskRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        self.control(call, &request.container_id, Control::Pause).await
    }

    async fn resume(&self, request: Request<api::ResumeTaskRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        self.control(call, &request.container_id, Control::Resume).await
    }

    async fn list_pids(
        &self,
        request: Request<api::ListPidsRequest>,
    ) -> Result<Response<api::ListPidsResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let pids = self.task(&call, &request.container_id).await?.pids().await.map_err(refuse)?;
        let process = |(pid, info): (u32, Option<_>)| look::ProcessInfo { pid, info: info.map(any) };
        Ok(Response::new(api::ListPidsResponse { processes: pids.into_iter().map(process).collect() }))
    }

    async fn checkpoint(
        &self,
        request: Request<api::CheckpointTaskRequest>,
    ) -> Result<Response<api::CheckpointTaskResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        // Into a directory that the client names; an image of a checkpoint would have to be written as a layer.
        let options = request.options.map(from_any);
        let Some(path) = create::checkpoint_path(options.as_ref())? else {
            return Err(unimplemented("a checkpoint as an image is not built yet; name a directory in its options"));
        };
        if !Path::new(&path).is_absolute() {
            return Err(Status::invalid_argument(format!("checkpoint directory {path:?}: not an absolute path")));
        }
        self.control(call, &request.container_id, Control::Checkpoint { path: path.into(), options }).await?;
        Ok(Response::new(api::CheckpointTaskResponse::default()))
    }

    async fn update(&self, request: Request<api::UpdateTaskRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let control = Control::Update {
            resources: request.resources.map(from_any),
            annotations: request.annotations.into_iter().collect(),
        };
        self.control(call, &request.container_id, control).await
    }

    async fn metrics(&self, request: Request<api::MetricsRequest>) -> Result<Response<api::MetricsResponse>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filters(&request.into_inner().filters)?;
        let metrics = look::metrics(self.0.tasks.list(&call.namespace).await, &filters).await;
        Ok(Response::new(api::MetricsResponse { metrics }))
    }

    async fn wait(&self, request: Request<api::WaitRequest>) -> Result<Response<api::WaitResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let task = self.task(&call, &request.container_id).await?;
        let stopped = Status::unavailable("the daemon is stopping; wait again when it is back");
        let exit = tokio::select! {
            exit = task.wait(&request.exec_id) => exit.map_err(refuse)?,
            () = self.0.stopping.stopped() => return Err(stopped),
        };
        Ok(Response::new(api::WaitResponse { exit_status: exit.status, exited_at: Some(timestamp(exit.at)) }))
    }
}

fn deleted(id: String, exit: Exit) -> api::DeleteResponse {
    api::DeleteResponse { id, pid: exit.pid, exit_status: exit.status, exited_at: Some(timestamp(exit.at)) }
}
