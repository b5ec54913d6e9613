//! From asking to gone: `true` in a container, one at a time, over the same gRPC client.

use std::path::Path;
use std::time::Instant;

use wharf_client::io::Io;
use wharf_client::{Client, NewContainer};
use wharf_integration::{images, registry::DockerRegistry};

use super::peer::{self, Place};
use super::sample::{Sample, head, row};

/// The steps, in order; the last is all of them.
const STEPS: [&str; 6] = ["container record", "create", "start", "wait", "delete", "all"];

/// Measures `runs` containers of each side, in turn.
///
/// # Errors
/// When a container does not run.
pub async fn measure(programs: &Path, runs: usize) -> anyhow::Result<()> {
    let place = Place::new(4)?;
    let registry = DockerRegistry::start(&place.path())?;
    registry.push(&images::busybox(&place.path())?, "busybox:latest")?;
    let reference = registry.reference("busybox:latest");
    let (ours, our_client) = peer::start(&place.path(), "wharf", Some(programs)).await?;
    let (theirs, their_client) = peer::start(&place.path(), "containerd", None).await?;
    peer::ctr_pull(&ours, &reference)?;
    peer::ctr_pull(&theirs, &reference)?;
    let (mut our_steps, mut their_steps) = (steps(), steps());
    for run in 0..=runs {
        let (ours, theirs) = (once(&our_client, &reference, run).await?, once(&their_client, &reference, run).await?);
        // The first one warms up.
        if run > 0 {
            our_steps.iter_mut().zip(ours).for_each(|(sample, took)| sample.add(took));
            their_steps.iter_mut().zip(theirs).for_each(|(sample, took)| sample.add(took));
        }
    }
    head(&format!("one container `true`, {runs} of each, milliseconds, median"));
    for ((name, ours), theirs) in STEPS.iter().zip(&our_steps).zip(&their_steps) {
        row(name, ours.median(), theirs.median());
    }
    if let (Some(ours), Some(theirs)) = (our_steps.last(), their_steps.last()) {
        row("all, nine of ten below", ours.p90(), theirs.p90());
    }
    Ok(())
}

fn steps() -> Vec<Sample> {
    vec![Sample::default(); STEPS.len()]
}

/// One container from its record to its end, in milliseconds a step.
async fn once(client: &Client, reference: &str, run: usize) -> anyhow::Result<Vec<f64>> {
    let image = client.image(reference, "overlayfs").await?;
    let (begun, mut took) = (Instant::now(), Vec::new());
    let mut last = begun;
    let mut lap = || {
        let now = Instant::now();
        took.push((now - last).as_secs_f64() * 1000.0);
        last = now;
    };
    let container =
        client.create_container(NewContainer::new(&format!("true-{run}"), &image).command(["true"])).await?;
    lap();
    let (task, _streams) = container.create_task(Io::null()).await?;
    lap();
    task.start().await?;
    lap();
    let exit = task.wait().await?;
    lap();
    anyhow::ensure!(exit.status == 0, "`true` ended with {}", exit.status);
    task.delete().await?;
    container.delete().await?;
    lap();
    took.push(begun.elapsed().as_secs_f64() * 1000.0);
    Ok(took)
}
