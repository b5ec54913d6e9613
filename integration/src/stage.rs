//! A scene with busybox in it: what most promises begin with.

use std::time::Duration;

use wharf_client::io::{Io, Streams};
use wharf_client::{Client, Exit, Image, NewContainer, PullOptions, Task};

use crate::registry::DockerRegistry;
use crate::{Scene, images};

/// How long anything may take that a test waits for, before it counts as stuck.
pub const STUCK: Duration = Duration::from_secs(60);

/// A daemon that has pulled busybox from a registry.
#[derive(Debug)]
pub struct Stage {
    /// The daemon and its folder.
    pub scene: Scene,
    /// Where busybox came from.
    pub registry: DockerRegistry,
    /// A client of the daemon.
    pub client: Client,
    /// Busybox, pulled and unpacked.
    pub image: Image,
}

impl Stage {
    /// Sets it.
    ///
    /// # Errors
    /// When a part of it does not work.
    pub async fn set() -> anyhow::Result<Self> {
        Self::of(Scene::new()?).await
    }

    /// Sets it with a scene of the caller's own.
    ///
    /// # Errors
    /// When a part of it does not work.
    pub async fn of(scene: Scene) -> anyhow::Result<Self> {
        let registry = DockerRegistry::start(scene.folder())?;
        registry.push(&images::busybox(scene.folder())?, "busybox:latest")?;
        let client = scene.client().await?;
        let image = client.pull(&registry.reference("busybox:latest"), &PullOptions::default(), |_| {}).await?;
        Ok(Self { scene, registry, client, image })
    }

    /// Creates a container that runs a shell's script, with its output piped, and does not start it yet.
    ///
    /// # Errors
    /// The daemon's or the runtime's own.
    pub async fn created(&self, id: &str, script: &str) -> anyhow::Result<(Task, Streams)> {
        self.created_with(NewContainer::new(id, &self.image).command(["sh", "-c", script])).await
    }

    /// As [`Stage::created`], of a container of the caller's own.
    ///
    /// # Errors
    /// The daemon's or the runtime's own.
    pub async fn created_with(&self, new: NewContainer<'_>) -> anyhow::Result<(Task, Streams)> {
        let container = self.client.create_container(new).await?;
        Ok(container.create_task(Io::piped()?).await?)
    }

    /// Runs a container to its end and returns what it printed, on both streams, and how it ended.
    ///
    /// # Errors
    /// The daemon's or the runtime's own.
    pub async fn run(&self, id: &str, script: &str) -> anyhow::Result<(String, Exit)> {
        let (task, streams) = self.created(id, script).await?;
        finish(&task, streams).await
    }
}

/// Starts a task, reads all it prints, and deletes it once it has ended.
///
/// # Errors
/// The daemon's or the runtime's own.
pub async fn finish(task: &Task, mut streams: Streams) -> anyhow::Result<(String, Exit)> {
    task.start().await?;
    let mut printed = streams.stdout_to_end().await?;
    printed.extend(streams.stderr_to_end().await?);
    let exit = task.wait().await?;
    task.delete().await?;
    Ok((String::from_utf8_lossy(&printed).into_owned(), exit))
}
