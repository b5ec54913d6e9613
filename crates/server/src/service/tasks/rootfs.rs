//! The root filesystem of a task where it takes more than its shim can mount (containerd: `core/runtime/v2/task_manager.go`).

use tonic::Status;
use wharf_mount::Activate;
use wharf_types::labels::GC_BREF_CONTAINER;
use wharf_types::{ErrorKind, Kind as _, Mount, Namespace};

use crate::Services;
use crate::blocking::blocking;
use crate::refuse::refuse;

/// A root filesystem that a shim can mount.
pub(super) struct Rootfs {
    pub(super) mounts: Vec<Mount>,
    /// Something was mounted for it just now, under the task's name.
    pub(super) active: bool,
}

/// Has mounted what a shim cannot mount, under the container's name and for as long as its record is there, and says what is left.
/// What is mounted already, by a call that was given up, is used.
pub(super) async fn mount(
    services: &Services,
    namespace: &Namespace,
    id: &str,
    mounts: Vec<Mount>,
) -> Result<Rootfs, Status> {
    if !wharf_mount::is_needed(&mounts) {
        return Ok(Rootfs { mounts, active: false });
    }
    let (manager, namespace) = (services.mounts.clone(), namespace.clone());
    let labels = [(GC_BREF_CONTAINER.to_owned(), id.to_owned())].into();
    let asked = Activate { name: id.to_owned(), mounts, labels, ..Activate::default() };
    blocking(move || {
        let name = asked.name.clone();
        match manager.activate(&namespace, asked) {
            Ok(made) => Ok(Rootfs { mounts: made.system, active: true }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let found = manager.info(&namespace, &name).map_err(refuse)?;
                Ok(Rootfs { mounts: found.system, active: false })
            }
            Err(error) => Err(refuse(error)),
        }
    })
    .await
}

/// Unmounts what was mounted for a task, if anything was.
pub(super) async fn unmount(services: &Services, namespace: &Namespace, id: &str) {
    let (manager, namespace, id) = (services.mounts.clone(), namespace.clone(), id.to_owned());
    let unmounted = blocking(move || {
        match manager.deactivate(&namespace, &id) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                // The collector tries again; the task is gone all the same.
                tracing::warn!(%namespace, id, %error, "what was mounted for a task stays for now");
            }
            _ => {}
        }
        Ok(())
    });
    drop(unmounted.await);
}
