//! A task from a container's record.

use std::sync::Arc;

use prost::Message;
use tonic::Status;
use wharf_api::containerd::runc::v1 as runc;
use wharf_api::containerd::services::tasks::v1::CreateTaskRequest;
use wharf_metadata::Container;
use wharf_supervisor::{CreateTask, Stdio, Task};
use wharf_types::Any;

use super::rootfs;
use crate::Services;
use crate::blocking::blocking;
use crate::call::{Call, id};
use crate::convert::{from_any, from_mount, type_name};
use crate::refuse::{refuse, unimplemented};

/// Creates the task that `request` asks for.
pub(super) async fn create(
    services: Services,
    call: Call,
    request: CreateTaskRequest,
) -> Result<Arc<dyn Task>, Status> {
    let id = id(&request.container_id)?;
    if request.checkpoint.is_some() {
        return Err(unimplemented("restoring a container from a checkpoint is not built yet"));
    }
    let (containers, namespace, name) = (services.containers.clone(), call.namespace.clone(), id.clone());
    let container = blocking(move || containers.get(&namespace, name.as_str()).map_err(refuse)).await?;
    let mut wanted = wanted(container, request)?;
    let rootfs = rootfs::mount(&services, &call.namespace, id.as_str(), wanted.rootfs).await?;
    wanted.rootfs = rootfs.mounts;
    let created = services.tasks.create(&call.namespace, &id, wanted).await.map_err(refuse);
    if created.is_err() && rootfs.active {
        rootfs::unmount(&services, &call.namespace, id.as_str()).await;
    }
    created
}

/// What the record and the request say together; the request's options go before the record's.
fn wanted(container: Container, request: CreateTaskRequest) -> Result<CreateTask, Status> {
    let spec = container.spec.map(|spec| spec.value).filter(|spec| !spec.is_empty()).ok_or_else(|| {
        Status::failed_precondition(format!("container {:?}: its record has no runtime specification", container.id))
    })?;
    let options = request.options.map(from_any);
    if checkpoint_path(options.as_ref())?.is_some() {
        return Err(unimplemented("restoring a container from a checkpoint is not built yet"));
    }
    let runtime = if request.runtime_path.is_empty() { container.runtime.name } else { request.runtime_path };
    Ok(CreateTask {
        spec,
        rootfs: request.rootfs.into_iter().map(from_mount).collect(),
        io: Stdio { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal },
        runtime,
        options: options.or(container.runtime.options),
        checkpoint: None,
        sandbox: container.sandbox,
        sandbox_address: request.task_api_address,
    })
}

/// The directory of a checkpoint that options name, where they are options of runc's shims.
///
/// # Errors
/// `InvalidArgument` for options that are not what their type says.
pub(super) fn checkpoint_path(options: Option<&Any>) -> Result<Option<String>, Status> {
    let Some(options) = options else { return Ok(None) };
    let malformed = |error| Status::invalid_argument(format!("options {:?}: {error}", options.type_url));
    let path = match type_name(&options.type_url) {
        "containerd.runc.v1.Options" => {
            runc::Options::decode(options.value.as_slice()).map_err(malformed)?.criu_image_path
        }
        "containerd.runc.v1.CheckpointOptions" => {
            runc::CheckpointOptions::decode(options.value.as_slice()).map_err(malformed)?.image_path
        }
        _ => String::new(),
    };
    Ok(Some(path).filter(|path| !path.is_empty()))
}
