//! The whole way of an image in one command: built, served, pulled, run, cleaned up.

mod progress;
mod stages;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use tempfile::TempDir;
use wharf_client::io::Io;
use wharf_client::{Client, NewContainer, PullOptions};
use wharf_testkit::daemon::Daemon;
use wharf_testkit::image::Image;
use wharf_testkit::registry::Registry;

use crate::{build, needs};
use progress::Bars;
use stages::Stages;

const NAMESPACE: &str = "poc";
const CONTAINER: &str = "poc";

/// What to run.
#[derive(Args)]
pub struct Arguments {
    /// An image of any registry; without one a demo image is built and served here.
    image: Option<String>,
    /// The profile to build with: `release`, or `dev` for a quicker build of a slower daemon.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Leaves the daemon running and says how to look around.
    #[arg(long)]
    keep: bool,
    /// Speaks plain HTTP also to a registry that is not on this machine.
    #[arg(long)]
    plain_http: bool,
    /// USER:PASSWORD for the registry.
    #[arg(long, value_name = "USER:PASSWORD", env = "WHARF_REGISTRY_USER", hide_env_values = true)]
    user: Option<String>,
    /// Where layers are unpacked: `overlayfs` or `native`.
    #[arg(long, default_value = "overlayfs")]
    snapshotter: String,
    /// What to run instead of what the image says.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Does it, a line a stage. The exit status is the container's.
///
/// # Errors
/// The first stage that fails, after everything was cleaned up.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(needs::is_root(), "mounting filesystems and making namespaces needs root: run it as root");
    needs::ensure(needs::RUN)?;
    let mut stages = Stages::default();
    let programs = stages.time("build", || build::programs(&arguments.profile), |_| arguments.profile.clone())?;
    let folder = tempfile::Builder::new().prefix("wharf-poc-").tempdir().context("make a temporary directory")?;
    let runtime = tokio::runtime::Runtime::new().context("start the asynchronous runtime")?;
    let status = runtime.block_on(drive(&arguments, &programs, folder, &mut stages))?;
    stages.total();
    std::process::exit(i32::try_from(status).unwrap_or(1));
}

/// Everything after the build.
async fn drive(arguments: &Arguments, programs: &Path, folder: TempDir, stages: &mut Stages) -> anyhow::Result<u32> {
    let demo = if arguments.image.is_none() { Some(serve_demo(folder.path(), stages).await?) } else { None };
    let reference = match (&arguments.image, &demo) {
        (Some(image), _) => image.clone(),
        (None, Some(registry)) => format!("{}/wharf/hello:latest", registry.addr()),
        (None, None) => anyhow::bail!("there is no image to run"),
    };
    let mut daemon = Daemon::wharf(programs, folder.path());
    stages.begin();
    daemon.start()?;
    stages.done("daemon", &format!("pid {}", daemon_pid(&daemon)));
    let client = Client::connect(daemon.address(), NAMESPACE).await?;
    let outcome = pull_and_run(&client, &reference, arguments, stages).await;
    drop(client);
    if arguments.keep {
        daemon.keep();
        say_how_to_look_around(&daemon, folder);
        return outcome;
    }
    let cleaned = stages.time("clean up", || clean(daemon, folder), |()| "nothing is left".to_owned());
    let status = outcome?;
    cleaned?;
    Ok(status)
}

fn daemon_pid(daemon: &Daemon) -> u32 {
    daemon.pid().unwrap_or(0)
}

/// Builds the demo image and serves it on loopback.
async fn serve_demo(folder: &Path, stages: &mut Stages) -> anyhow::Result<Registry> {
    let program = stages.time("demo", || build::demo(folder), |_| "a static program, by rustc".to_owned())?;
    let bytes = std::fs::read(&program).with_context(|| format!("read {}", program.display()))?;
    let image = Image::of_binary(bytes, "/hello");
    let registry = Registry::start().await.context("start a registry on loopback")?;
    registry.put_image("wharf/hello", "latest", &image);
    stages.done("registry", &format!("wharf/hello:latest on {}", registry.addr()));
    Ok(registry)
}

/// Pulls, creates, starts, prints what the container printed, waits, deletes.
async fn pull_and_run(
    client: &Client,
    reference: &str,
    arguments: &Arguments,
    stages: &mut Stages,
) -> anyhow::Result<u32> {
    let image = pull(client, reference, arguments, stages).await?;
    let mut new = NewContainer::new(CONTAINER, &image);
    if !arguments.command.is_empty() {
        new = new.command(&arguments.command);
    }
    stages.begin();
    let container = client.create_container(new).await?;
    let created = container.create_task(Io::piped()?).await;
    let (task, mut streams) = match created {
        Ok(created) => created,
        Err(error) => {
            // The refusal is what the caller needs; what else fails says nothing new.
            let _ = container.delete().await;
            return Err(error.into());
        }
    };
    stages.done("create", &format!("pid {}", task.pid()));
    let printed = tokio::spawn(progress::print(streams.take_stdout(), streams.take_stderr()));
    task.start().await?;
    stages.done("start", "");
    let exit = task.wait().await?;
    printed.await.context("print the container's output")??;
    stages.done("run", &format!("exit status {}", exit.status));
    task.delete().await?;
    container.delete().await?;
    stages.done("delete", "");
    Ok(exit.status)
}

async fn pull(
    client: &Client,
    reference: &str,
    arguments: &Arguments,
    stages: &mut Stages,
) -> anyhow::Result<wharf_client::Image> {
    let credentials = match &arguments.user {
        Some(user) => {
            let (name, secret) = user.split_once(':').context("--user wants USER:PASSWORD")?;
            Some((name.to_owned(), secret.to_owned()))
        }
        None => None,
    };
    let options = PullOptions {
        snapshotter: arguments.snapshotter.clone(),
        plain_http: arguments.plain_http,
        credentials,
        ..PullOptions::default()
    };
    let mut bars = Bars::new();
    stages.begin();
    let pulled = client.pull(reference, &options, |line| bars.show(&line)).await;
    bars.finish();
    let image = pulled?;
    stages.done("pull", &format!("{} {}", image.name(), image.target().digest));
    Ok(image)
}

/// Stops the daemon as an operator does, and removes the folder.
fn clean(mut daemon: Daemon, folder: TempDir) -> anyhow::Result<()> {
    let status = daemon.terminate()?;
    anyhow::ensure!(status.success(), "the daemon stopped with {status}\n{}", daemon.log());
    drop(daemon);
    let path: PathBuf = folder.path().to_owned();
    folder.close().with_context(|| format!("remove {}", path.display()))
}

fn say_how_to_look_around(daemon: &Daemon, folder: TempDir) {
    let (address, pid) = (daemon.address(), daemon_pid(daemon));
    let folder = folder.keep();
    println!("\nThe daemon runs on. Look around with containerd's own client:");
    println!("  ctr --address {} --namespace {NAMESPACE} images ls", address.display());
    println!("Stop it and remove everything:");
    println!("  kill {pid} && rm -r {}", folder.display());
}
