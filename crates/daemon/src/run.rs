//! From the command line to a served socket, and back.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wharf_server::MAX_MESSAGE_BYTES;

use crate::cli::{Cli, Command, Show};
use crate::config::{self, Config};
use crate::directories::Directories;
use crate::sockets::Socket;
use crate::wire::Wired;
use crate::{cgroup, gc, logs, notify, oci_hook, restart, stop};

/// The whole program. What fails is said in one line on standard error.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logs may not be set up yet, or be JSON for a machine: this line is for whoever started the program.
            let _ = writeln!(std::io::stderr(), "wharfd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if let Some(Command::OciHook { arguments }) = &cli.command {
        return oci_hook::run(arguments).map(|never| match never {});
    }
    if let Some(Command::Config(Show::Default)) = cli.command {
        return show(&Config::default());
    }
    let (mut config, warnings) = config::read(cli.config.as_deref())?;
    if let Some(Command::Config(Show::Migrate)) = cli.command {
        warnings.iter().for_each(|warning| drop(writeln!(std::io::stderr(), "wharfd: {warning}")));
        // What was imported stands in it now.
        return show(&Config { version: Config::default().version, imports: Vec::new(), ..config });
    }
    cli.over(&mut config);
    if let Some(Command::Config(Show::Dump)) = cli.command {
        return show(&config);
    }
    logs::start(&config.debug);
    for warning in &warnings {
        if warning.minor { tracing::info!("{warning}") } else { tracing::warn!("{warning}") }
    }
    // Set once, before there is a second thread: what is made without a mode of its own is not for all to write.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .thread_name("wharfd")
        .enable_all()
        .build()
        .context("start threads")?;
    let served = runtime.block_on(serve(config));
    // Blocking work that has not ended by now (a pull's write, a collection) is made for being cut off.
    runtime.shutdown_background();
    served
}

/// Two at least, so that one busy call holds nobody up; few, since calls wait much and compute little.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

fn show(config: &Config) -> Result<()> {
    let text = toml::to_string_pretty(config).context("write the configuration")?;
    std::io::stdout().write_all(text.as_bytes()).context("write to standard output")
}

/// Serves until the process is told to stop.
async fn serve(config: Config) -> Result<()> {
    let directories = Directories::take(&config.root, &config.state)?;
    cgroup::join(&config.cgroup.path)?;
    let wired = Wired::new(&config, &directories)?;
    let clients = Socket::bind(&config.grpc.address, config.grpc.uid, config.grpc.gid)?;
    let shims = Socket::bind(&config.ttrpc_address(), config.ttrpc.uid, config.ttrpc.gid)?;
    let (stop_shims, shims_stop) = watch::channel(());
    // Before anything is asked of a shim: what it could not report while nobody listened comes now.
    let reports = wharf_server::shims::server(wired.hub.clone()).serve(shims.listen()?, closed(shims_stop));
    let reports = tokio::spawn(reports);
    let (gc, database, collector) = (config.gc(), wired.database, wired.collector);
    let collecting = tokio::spawn(async move { gc::run(gc, &database, collector).await });
    // It knows of every task from here on, and reaches their shims while clients are served.
    wired.tasks.restore().await.context("find the tasks that run")?;
    let stopping = wired.services.stopping.clone();
    let routes = wharf_server::router(&wired.services, message_limit(&config));
    let served = wharf_server::serve(routes, clients.listen()?, async move { stopping.stopped().await });
    let mut served = tokio::spawn(served);
    let restarting = tokio::spawn(restart::run(wired.services.clone(), restart_interval(&config)));
    tracing::info!(address = %config.grpc.address.display(), pid = std::process::id(), "serving");
    notify::notify("READY=1");
    let ended = tokio::select! {
        told = stop::told_to_stop() => told.context("take signals").map(Some),
        ended = &mut served => ended.context("serve clients").and_then(|ended| ended.context("serve clients")).map(|()| None),
    };
    notify::notify("STOPPING=1");
    collecting.abort();
    restarting.abort();
    drop((wired.stop, clients));
    if let Some(signal) = ended? {
        tracing::info!(signal, "stopping; containers go on");
        drain(&config, served).await;
    }
    drop(stop_shims);
    reports.await.context("serve shims")?;
    tracing::info!("stopped");
    Ok(())
}

/// Lets calls that are under way end, for as long as the configuration gives them.
async fn drain(config: &Config, mut served: JoinHandle<std::io::Result<()>>) {
    let drain = config.timeouts.drain.get();
    if tokio::time::timeout(drain, &mut served).await.is_err() {
        tracing::warn!(?drain, "calls that did not end are cut off");
        served.abort();
    }
}

fn restart_interval(config: &Config) -> std::time::Duration {
    let interval = config.plugins.restart.interval.get();
    if interval.is_zero() { Config::default().plugins.restart.interval.get() } else { interval }
}

fn message_limit(config: &Config) -> usize {
    if config.grpc.max_recv_message_size == 0 { MAX_MESSAGE_BYTES } else { config.grpc.max_recv_message_size }
}

/// Waits until the sender is dropped.
async fn closed(mut receiver: watch::Receiver<()>) {
    while receiver.changed().await.is_ok() {}
}
