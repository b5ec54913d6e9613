//! What daemon and shims hold in memory.

use std::path::Path;

use wharf_client::io::Io;
use wharf_client::{Client, NewContainer, Task};
use wharf_integration::{images, registry::DockerRegistry};
use wharf_testkit::daemon::Daemon;

use super::peer::{self, Place};
use super::sample::{Sample, head, row};

/// How many containers run while shims are measured.
const CONTAINERS: usize = 20;

/// What one side holds, in megabytes.
struct Held {
    idle: f64,
    busy: f64,
    resident: f64,
    proportional: f64,
}

/// Measures both sides.
///
/// # Errors
/// When a daemon or container does not run.
pub async fn measure(programs: &Path) -> anyhow::Result<()> {
    let place = Place::new(4)?;
    let registry = DockerRegistry::start(&place.path())?;
    registry.push(&images::busybox(&place.path())?, "busybox:latest")?;
    let reference = registry.reference("busybox:latest");
    let ours = side(&place, "wharf", Some(programs), &reference).await?;
    let theirs = side(&place, "containerd", None, &reference).await?;
    head(&format!("memory, megabytes; shims with {CONTAINERS} running"));
    row("daemon, resident, idle", ours.idle, theirs.idle);
    row("daemon, resident, with containers", ours.busy, theirs.busy);
    row("shim, resident", ours.resident, theirs.resident);
    row("shim, proportional", ours.proportional, theirs.proportional);
    Ok(())
}

async fn side(place: &Place, name: &str, programs: Option<&Path>, reference: &str) -> anyhow::Result<Held> {
    let (daemon, client) = peer::start(&place.path(), name, programs).await?;
    let resident = |daemon: &Daemon| daemon.pid().map_or(0.0, |pid| peer::megabytes(pid, "status", "VmRSS"));
    let idle = resident(&daemon);
    peer::ctr_pull(&daemon, reference)?;
    let tasks = run(&client, reference).await?;
    let (mut rss, mut pss) = (Sample::default(), Sample::default());
    for shim in daemon.shims() {
        rss.add(peer::megabytes(shim, "status", "VmRSS"));
        pss.add(peer::megabytes(shim, "smaps_rollup", "Pss"));
    }
    let held = Held { idle, busy: resident(&daemon), resident: rss.median(), proportional: pss.median() };
    for task in tasks {
        task.kill(9, true).await?;
        task.wait().await?;
        task.delete().await?;
    }
    Ok(held)
}

async fn run(client: &Client, reference: &str) -> anyhow::Result<Vec<Task>> {
    let image = client.image(reference, "overlayfs").await?;
    let mut tasks = Vec::new();
    for number in 0..CONTAINERS {
        let new = NewContainer::new(&format!("sleep-{number}"), &image).command(["sleep", "1000"]);
        let (task, _streams) = client.create_container(new).await?.create_task(Io::null()).await?;
        task.start().await?;
        tasks.push(task);
    }
    Ok(tasks)
}
