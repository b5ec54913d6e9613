//! Tells when the kernel killed for want of memory, before it is told that a process has ended.

use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wharf_api::containerd::events::TaskOom;

use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::shim::Shim;

/// How long the kernel's count may lag behind its notice.
const LAG: Duration = Duration::from_millis(200);

/// How many kills were told.
#[derive(Debug, Default)]
pub(crate) struct Oom(AtomicU64);

/// Tells of kills that were not told yet.
pub(crate) fn check(shim: &Shim, container: &Container) {
    let kills = container.cgroup.oom_kills();
    if container.oom.0.fetch_max(kills, Ordering::Relaxed) < kills {
        shim.publish("/tasks/oom", "TaskOOM", &TaskOom { container_id: container.id.clone() });
    }
}

/// Watches a container until it is deleted. Where the kernel offers no notice, kills are found when processes end.
pub(crate) fn watch(shim: &Arc<Shim>, container: &Arc<Container>) {
    if let Ok((fd, control)) = notice(&container.cgroup) {
        tokio::spawn(follow(shim.clone(), Arc::downgrade(container), fd, control));
    }
}

async fn follow(shim: Arc<Shim>, container: Weak<Container>, fd: AsyncFd<OwnedFd>, _control: Option<File>) {
    loop {
        let Ok(mut guard) = fd.readable().await else { return };
        let mut bytes = [MaybeUninit::<u8>::uninit(); 512];
        let read = rustix::io::read(fd.get_ref(), &mut bytes).map(|(b, _)| b.len());
        guard.clear_ready();
        // The cgroup's removal is noticed too, and is the end of the watch.
        let Some(container) =
            container.upgrade().filter(|c| c.cgroup.dir("memory").is_some_and(std::path::Path::exists))
        else {
            return;
        };
        if read.is_ok() {
            check(&shim, &container);
            tokio::time::sleep(LAG).await;
            check(&shim, &container);
        }
    }
}

/// What becomes readable when the kernel has killed: an eventfd in version 1, inotify of `memory.events` in version 2.
fn notice(cgroup: &Cgroup) -> io::Result<(AsyncFd<OwnedFd>, Option<File>)> {
    let dir = cgroup.dir("memory").ok_or(io::ErrorKind::NotFound)?;
    if matches!(cgroup, Cgroup::V2(_)) {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(
            &fd,
            dir.join("memory.events"),
            inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF,
        )?;
        return Ok((wharf_runtime::watch(fd, Interest::READABLE)?, None));
    }
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = File::open(dir.join("memory.oom_control"))?;
    fs::write(dir.join("cgroup.event_control"), format!("{} {}", event.as_raw_fd(), control.as_raw_fd()))?;
    Ok((wharf_runtime::watch(event, Interest::READABLE)?, Some(control)))
}
