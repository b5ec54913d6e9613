//! Fields of events that filters may ask for: `event.container_id`, `event.name`, `event.labels.x`.

use prost::Message;
use wharf_api::containerd::events as e;
use wharf_api::containerd::services::images::v1 as images;
use wharf_types::Any;

use crate::convert::type_name;

/// Reads one field of an event that containerd defines; nothing for other events and other fields.
#[must_use]
pub fn event_field(event: &Any, path: &[&str]) -> Option<String> {
    let bytes = event.value.as_slice();
    let name = type_name(&event.type_url);
    let value = match name.strip_prefix("containerd.events.") {
        Some(name) if name.starts_with("Task") => task(name, bytes, path),
        Some(name) => object(name, bytes, path),
        None => image(name.strip_prefix("containerd.services.images.v1.")?, bytes, path),
    };
    value.filter(|value| !value.is_empty())
}

/// Decodes the event as one type and picks one of its fields.
macro_rules! pick {
    ($type:ty, $bytes:expr, $path:expr, $($field:ident),+) => {{
        let event = <$type>::decode($bytes).ok()?;
        match $path {
            $([name] if *name == stringify!($field) => Some(event.$field.to_string()),)+
            _ => None,
        }
    }};
}

/// As `pick!`, for events with labels.
macro_rules! pick_labelled {
    ($type:ty, $bytes:expr, $path:expr, $($field:ident),+) => {{
        if let ["labels", key @ ..] = $path {
            return <$type>::decode($bytes).ok()?.labels.remove(&key.join("."));
        }
        pick!($type, $bytes, $path, $($field),+)
    }};
}

fn task(name: &str, bytes: &[u8], path: &[&str]) -> Option<String> {
    match name {
        "TaskCreate" => pick!(e::TaskCreate, bytes, path, container_id, bundle, checkpoint, pid),
        "TaskStart" => pick!(e::TaskStart, bytes, path, container_id, pid),
        "TaskDelete" => pick!(e::TaskDelete, bytes, path, container_id, pid, exit_status, id),
        "TaskExit" => pick!(e::TaskExit, bytes, path, container_id, id, pid, exit_status),
        "TaskOOM" => pick!(e::TaskOom, bytes, path, container_id),
        "TaskExecAdded" => pick!(e::TaskExecAdded, bytes, path, container_id, exec_id),
        "TaskExecStarted" => pick!(e::TaskExecStarted, bytes, path, container_id, exec_id, pid),
        "TaskPaused" => pick!(e::TaskPaused, bytes, path, container_id),
        "TaskResumed" => pick!(e::TaskResumed, bytes, path, container_id),
        "TaskCheckpointed" => pick!(e::TaskCheckpointed, bytes, path, container_id, checkpoint),
        _ => None,
    }
}

fn object(name: &str, bytes: &[u8], path: &[&str]) -> Option<String> {
    match name {
        "ContainerCreate" => pick!(e::ContainerCreate, bytes, path, id, image),
        "ContainerUpdate" => pick_labelled!(e::ContainerUpdate, bytes, path, id, image, snapshot_key),
        "ContainerDelete" => pick!(e::ContainerDelete, bytes, path, id),
        "ContentCreate" => pick!(e::ContentCreate, bytes, path, digest, size),
        "ContentDelete" => pick!(e::ContentDelete, bytes, path, digest),
        "NamespaceCreate" => pick_labelled!(e::NamespaceCreate, bytes, path, name),
        "NamespaceUpdate" => pick_labelled!(e::NamespaceUpdate, bytes, path, name),
        "NamespaceDelete" => pick!(e::NamespaceDelete, bytes, path, name),
        "SnapshotPrepare" => pick!(e::SnapshotPrepare, bytes, path, key, parent, snapshotter),
        "SnapshotCommit" => pick!(e::SnapshotCommit, bytes, path, key, name, snapshotter),
        "SnapshotRemove" => pick!(e::SnapshotRemove, bytes, path, key, snapshotter),
        "SandboxCreate" => pick!(e::SandboxCreate, bytes, path, sandbox_id),
        "SandboxStart" => pick!(e::SandboxStart, bytes, path, sandbox_id),
        "SandboxExit" => pick!(e::SandboxExit, bytes, path, sandbox_id, exit_status),
        _ => None,
    }
}

fn image(name: &str, bytes: &[u8], path: &[&str]) -> Option<String> {
    match name {
        "ImageCreate" => pick_labelled!(images::ImageCreate, bytes, path, name),
        "ImageUpdate" => pick_labelled!(images::ImageUpdate, bytes, path, name),
        "ImageDelete" => pick!(images::ImageDelete, bytes, path, name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::pack;

    #[test]
    fn fields_are_found_in_the_events_that_have_them() {
        let exit = e::TaskExit { container_id: "web".into(), exit_status: 7, ..Default::default() };
        let exit = pack("containerd.events.TaskExit", &exit);
        assert_eq!(event_field(&exit, &["container_id"]).as_deref(), Some("web"));
        assert_eq!(event_field(&exit, &["exit_status"]).as_deref(), Some("7"));
        assert_eq!(event_field(&exit, &["id"]), None);
        assert_eq!(event_field(&exit, &["nonsense"]), None);
        let labels = [("a.b".to_owned(), "c".to_owned())].into();
        let image =
            pack("containerd.services.images.v1.ImageCreate", &images::ImageCreate { name: "x".into(), labels });
        assert_eq!(event_field(&image, &["labels", "a", "b"]).as_deref(), Some("c"));
        let broken = Any { type_url: "containerd.events.TaskExit".into(), value: vec![0xff] };
        assert_eq!(event_field(&broken, &["container_id"]), None);
    }
}
