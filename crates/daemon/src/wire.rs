//! Which part gets which.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use wharf_diff::{LayerApplier, LayerComparer};
use wharf_events::Hub;
use wharf_metadata::Database;
use wharf_mount::Mounts;
use wharf_server::{Announcer, Identity, Pulls, Services, Stop, Stopping};
use wharf_supervisor::ShimManager;
use wharf_types::Platform;

use crate::collector::Collector;
use crate::config::{Config, Level};
use crate::directories::Directories;
use crate::registries::Configured;
use crate::stores::{Opened, Views};

/// How long after its start the daemon tells new subscribers of what happened while it was away: shims are back before they are.
const LATE: Duration = Duration::from_secs(30);

/// The parts, joined.
pub(crate) struct Wired {
    pub(crate) services: Services,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tasks: Arc<ShimManager>,
    pub(crate) database: Database,
    pub(crate) collector: Arc<Collector>,
    /// Dropped, it ends the calls that would wait for ever.
    pub(crate) stop: Stop,
}

impl Wired {
    /// Opens what is on disk and joins the parts. Blocks.
    pub(crate) fn new(config: &Config, directories: &Directories) -> Result<Self> {
        let Opened { database, snapshotters } = Opened::open(config, directories)?;
        let hub = Arc::new(Hub::with_decoder(wharf_server::event_field));
        hub.keep_late(LATE);
        let tasks = manager(config, directories, &hub)?;
        let mounts = Mounts::open(directories.state.join("mounts"), Arc::new(database.clone()));
        let mounts = Arc::new(mounts.context("take up what is mounted for clients")?);
        let collector = Arc::new(Collector::new(database.clone(), mounts.clone(), hub.clone()));
        let views = Arc::new(Views { database: database.clone(), collector: collector.clone() });
        let (stop, stopping) = Stopping::new();
        let records = Arc::new(database.clone());
        let services = Services {
            namespaces: records.clone(),
            images: records.clone(),
            containers: records.clone(),
            sandboxes: records.clone(),
            leases: records,
            mounts,
            stores: Arc::new(Announcer { stores: views, exchange: hub.clone() }),
            applier: Arc::new(LayerApplier::new()),
            comparer: Arc::new(LayerComparer::new()),
            registries: Arc::new(Configured::new(&config.registry.plain_http)),
            pulls: Pulls::default(),
            tasks: tasks.clone(),
            sandbox_controller: tasks.clone(),
            events: hub.clone(),
            identity: identity(directories, snapshotters)?,
            stopping,
        };
        Ok(Self { services, hub, tasks, database, collector, stop })
    }
}

/// Who this daemon is.
fn identity(directories: &Directories, snapshotters: Vec<String>) -> Result<Identity> {
    Ok(Identity {
        uuid: directories.uuid()?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // Whoever packages the daemon says what it was built from.
        revision: option_env!("WHARF_REVISION").unwrap_or_default().to_owned(),
        platform: Platform::host(),
        snapshotters,
        root: directories.root.display().to_string(),
    })
}

/// The supervisor. Shims run with the bundle as their working directory: the paths they are given are absolute.
fn manager(config: &Config, directories: &Directories, hub: &Arc<Hub>) -> Result<Arc<ShimManager>> {
    let program = std::env::current_exe().context("find this program")?;
    let beside = program.parent().map(Path::to_owned).into_iter().collect();
    let socket = |path: &Path| anyhow::Ok(std::path::absolute(path)?.display().to_string());
    let (address, ttrpc) = (socket(&config.grpc.address)?, socket(&config.ttrpc_address())?);
    let mut shims = wharf_supervisor::Config::new(&directories.state, &directories.root, address, ttrpc, beside);
    shims.runtimes.clone_from(&config.runtimes);
    shims.debug = matches!(config.debug.level, Level::Debug | Level::Trace);
    Ok(Arc::new(ShimManager::new(shims, hub.clone())))
}
