//! Helpers for the promises under `tests/`: a daemon in a folder of its own, a real registry, images made by others, Debian's
//! `ctr`, and trees of files to compare. Each is one line to use, and cleans up after itself.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use wharf_integration::{Scene, images, registry::DockerRegistry};
//!
//! let scene = Scene::new()?;
//! let registry = DockerRegistry::start(scene.folder())?;
//! registry.push(&images::busybox(scene.folder())?, "busybox:latest")?;
//! scene.ctr(["images", "pull", "--plain-http", &registry.reference("busybox:latest")]).ok()?;
//! # Ok(())
//! # }
//! ```

pub mod command;
pub mod dockerd;
pub mod images;
pub mod layout;
pub mod raw;
pub mod refusal;
pub mod registry;
pub mod rootfs;
pub mod stage;
pub mod terminal;
pub mod traces;
pub mod tree;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use command::Finished;
use tempfile::TempDir;
use wharf_client::Client;
use wharf_testkit::daemon::{Daemon, programs};

/// The namespace that scenes use.
pub const NAMESPACE: &str = "default";

/// A running `wharfd` in a fresh folder. Dropping it removes everything: containers, mounts, files.
#[derive(Debug)]
pub struct Scene {
    /// The daemon. Declared before the folder: it is dropped first.
    pub daemon: Daemon,
    folder: TempDir,
}

impl Scene {
    /// Starts a daemon.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new() -> anyhow::Result<Self> {
        Self::with(|daemon, _| Ok(daemon))
    }

    /// Starts a daemon that `adjust` had the last word on; it is given the folder.
    ///
    /// # Errors
    /// When it does not start.
    pub fn with(adjust: impl FnOnce(Daemon, &Path) -> anyhow::Result<Daemon>) -> anyhow::Result<Self> {
        let mut scene = Self::stopped(adjust)?;
        scene.daemon.start()?;
        Ok(scene)
    }

    /// As [`Scene::with`], without starting the daemon.
    ///
    /// # Errors
    /// When the folder cannot be made or `wharfd` is not built.
    pub fn stopped(adjust: impl FnOnce(Daemon, &Path) -> anyhow::Result<Daemon>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("wharf-it-").tempdir().context("make a folder")?;
        let daemon = adjust(Daemon::wharf(&programs()?, folder.path()), folder.path())?;
        Ok(Self { daemon, folder })
    }

    /// The scene's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client in [`NAMESPACE`].
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.daemon.address(), NAMESPACE).await?)
    }

    /// Runs Debian's `ctr` against the daemon, to its end.
    pub fn ctr<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        command::run(&mut self.ctr_command(arguments))
    }

    /// Debian's `ctr` against the daemon, not started yet.
    pub fn ctr_command<S: AsRef<str>>(&self, arguments: impl IntoIterator<Item = S>) -> std::process::Command {
        let mut command = std::process::Command::new("ctr");
        command.arg("--address").arg(self.daemon.address());
        command.args(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        command
    }

    /// Where the daemon's bundle of a container is.
    #[must_use]
    pub fn bundle(&self, id: &str) -> PathBuf {
        self.daemon.state().join("io.containerd.runtime.v2.task").join(NAMESPACE).join(id)
    }
}
