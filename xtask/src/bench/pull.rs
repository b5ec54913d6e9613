//! Pulling and unpacking a large image, cold, each side in turn, on a fresh xfs.

use std::path::Path;
use std::time::Instant;

use wharf_client::PullOptions;
use wharf_integration::{images, registry::DockerRegistry};

use super::peer::{self, Place};
use super::sample::{Sample, head, row};

/// What one pull took.
#[derive(Default)]
struct Took {
    seconds: Sample,
    cpu: Sample,
    peak: Sample,
}

/// Measures `runs` pulls of each side, each into an empty root.
///
/// # Errors
/// When a pull fails.
pub async fn measure(programs: &Path, runs: usize) -> anyhow::Result<()> {
    let place = Place::new(16)?;
    let registry = DockerRegistry::start(&place.path())?;
    let large = images::large(&place.path())?;
    registry.push(&large, "large:latest")?;
    let reference = registry.reference("large:latest");
    let (mut ours, mut theirs) = (Took::default(), Took::default());
    for run in 0..=runs {
        // The first one warms up the registry.
        let counted = run > 0;
        once(&place, &format!("wharf-{run}"), Some(programs), &reference, counted.then_some(&mut ours)).await?;
        once(&place, &format!("containerd-{run}"), None, &reference, counted.then_some(&mut theirs)).await?;
    }
    head(&format!("pull and unpack, 530 MB in 8 layers, {runs} of each, median"));
    row("seconds", ours.seconds.median(), theirs.seconds.median());
    row("CPU seconds of the daemon", ours.cpu.median(), theirs.cpu.median());
    row("peak memory of the daemon, MB", ours.peak.median(), theirs.peak.median());
    Ok(())
}

async fn once(
    place: &Place,
    name: &str,
    programs: Option<&Path>,
    reference: &str,
    took: Option<&mut Took>,
) -> anyhow::Result<()> {
    let (mut daemon, client) = peer::start(&place.path(), name, programs).await?;
    let pid = daemon.pid().unwrap_or(0);
    let begun = Instant::now();
    if programs.is_some() {
        client.pull(reference, &PullOptions::default(), |_| {}).await?;
    } else {
        peer::ctr_pull(&daemon, reference)?;
    }
    if let Some(took) = took {
        took.seconds.add(begun.elapsed().as_secs_f64());
        took.cpu.add(peer::cpu_seconds(pid));
        took.peak.add(peer::megabytes(pid, "status", "VmHWM"));
    }
    daemon.crash();
    drop(daemon);
    std::fs::remove_dir_all(place.path().join(name))?;
    Ok(())
}
