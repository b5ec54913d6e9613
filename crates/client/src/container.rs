//! Containers: records that tasks are made from.

use std::collections::HashMap;

use oci_spec::runtime::Spec;
use prost_types::Any;
use wharf_api::containerd::services::containers::v1 as api;
use wharf_api::containerd::services::snapshots::v1 as snapshots;
use wharf_api::containerd::services::tasks::v1::CreateTaskRequest;
use wharf_api::containerd::types::Mount;
use wharf_types::{ErrorKind, Kind as _};

use crate::io::{Io, Streams};
use crate::spec::{self, Process};
use crate::task::Task;
use crate::user::Identity;
use crate::{Client, Error, Image, Result};

/// The runtime that containers get when nobody says otherwise.
pub const DEFAULT_RUNTIME: &str = "io.containerd.runc.v2";

/// A container that is to be made.
#[derive(Debug)]
pub struct NewContainer<'a> {
    id: String,
    image: &'a Image,
    runtime: String,
    options: Option<Any>,
    process: Process,
    user: Option<String>,
    labels: HashMap<String, String>,
    adjust: Vec<Adjust>,
}

/// A function that has a last word on the specification.
type LastWord = dyn FnOnce(&mut Spec) -> Result<()> + Send;

/// A last word on the specification.
struct Adjust(Box<LastWord>);

impl std::fmt::Debug for Adjust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Adjust")
    }
}

impl<'a> NewContainer<'a> {
    /// A container that runs what the image says.
    #[must_use]
    pub fn new(id: &str, image: &'a Image) -> Self {
        Self {
            id: id.to_owned(),
            image,
            runtime: DEFAULT_RUNTIME.to_owned(),
            options: None,
            process: Process::default(),
            user: None,
            labels: HashMap::new(),
            adjust: Vec::new(),
        }
    }

    /// Runs `command` instead of what the image says; an entrypoint of the image stays before it.
    #[must_use]
    pub fn command<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.process.command = command.into_iter().map(Into::into).collect();
        self
    }

    /// Replaces the image's entrypoint.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(mut self, entrypoint: impl IntoIterator<Item = S>) -> Self {
        self.process.entrypoint = Some(entrypoint.into_iter().map(Into::into).collect());
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.process.env.push(format!("{name}={value}"));
        self
    }

    /// Runs as another user than the image says: `user`, `uid`, `user:group` or `uid:gid`.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Gives the first process a terminal.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.process.terminal = true;
        self
    }

    /// Takes another runtime.
    #[must_use]
    pub fn runtime(mut self, name: &str, options: Option<Any>) -> Self {
        (self.runtime, self.options) = (name.to_owned(), options);
        self
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Has the last word on the specification.
    #[must_use]
    pub fn adjust(mut self, adjust: impl FnOnce(&mut Spec) -> Result<()> + Send + 'static) -> Self {
        self.adjust.push(Adjust(Box::new(adjust)));
        self
    }
}

impl Client {
    /// Makes a container: a root filesystem on top of the image, and the record. Neither stays when the other fails.
    ///
    /// # Errors
    /// `AlreadyExists`; [`Error::Image`] for an image that says nothing to run; `NotFound` for one that is not unpacked.
    pub async fn create_container(&self, new: NewContainer<'_>) -> Result<Container> {
        // Until the record names the snapshot, the lease holds it.
        let lease = self.lease().await?;
        let made = lease.client().create_leased(new).await;
        let released = lease.release().await;
        let record = made?;
        released?;
        Ok(Container { client: self.clone(), record })
    }

    /// Prepares the root filesystem and makes the record.
    async fn create_leased(&self, new: NewContainer<'_>) -> Result<api::Container> {
        let (snapshotter, id) = (new.image.snapshotter.clone(), new.id.clone());
        let parent = new.image.chain_id().await?.map(|id| id.to_string()).unwrap_or_default();
        let mounts = self.prepare(&snapshotter, &id, &parent).await?;
        let made = self.create_record(new, &mounts).await;
        if made.is_err() {
            // The first error is what the caller needs; a snapshot that stays is collected.
            let _ = self.remove_snapshot(&snapshotter, &id).await;
        }
        made
    }

    async fn create_record(&self, new: NewContainer<'_>, mounts: &[Mount]) -> Result<api::Container> {
        let (image, id) = (new.image, new.id);
        let config = image.config().await?;
        let said = config.config().as_ref().and_then(|config| config.user().clone()).unwrap_or_default();
        let identity = Identity::lookup(&image.name, new.user.as_deref().unwrap_or(&said), mounts)?;
        let mut spec = spec::default_spec(&self.namespace, &id)?;
        spec::apply_image(&mut spec, &image.name, &config, &identity, &new.process)?;
        for Adjust(adjust) in new.adjust {
            adjust(&mut spec)?;
        }
        let record = api::Container {
            id: id.clone(),
            labels: new.labels,
            image: image.name.clone(),
            runtime: Some(api::container::Runtime { name: new.runtime, options: new.options }),
            spec: Some(spec::to_any(spec::SPEC, &spec)?),
            snapshotter: image.snapshotter.clone(),
            snapshot_key: id.clone(),
            ..api::Container::default()
        };
        let doing = format!("create container {id}");
        let request = api::CreateContainerRequest { container: Some(record) };
        let answer = self.containers().create(request).await.map_err(Error::during(doing.clone()))?;
        answer.into_inner().container.ok_or(Error::Answer { doing, missing: "container" })
    }

    /// A container that exists.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn container(&self, id: &str) -> Result<Container> {
        let doing = format!("look for container {id}");
        let request = api::GetContainerRequest { id: id.to_owned() };
        let answer = self.containers().get(request).await.map_err(Error::during(doing.clone()))?;
        let record = answer.into_inner().container.ok_or(Error::Answer { doing, missing: "container" })?;
        Ok(Container { client: self.clone(), record })
    }

    async fn prepare(&self, snapshotter: &str, key: &str, parent: &str) -> Result<Vec<Mount>> {
        let request = snapshots::PrepareSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: HashMap::new(),
        };
        let doing = Error::during(format!("prepare the root filesystem of {key}"));
        Ok(self.snapshots().prepare(request).await.map_err(doing)?.into_inner().mounts)
    }

    async fn remove_snapshot(&self, snapshotter: &str, key: &str) -> Result<()> {
        let request = snapshots::RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
        let doing = Error::during(format!("remove the root filesystem of {key}"));
        self.snapshots().remove(request).await.map_err(doing)?;
        Ok(())
    }
}

/// A container that exists.
#[derive(Clone, Debug)]
pub struct Container {
    client: Client,
    record: api::Container,
}

impl Container {
    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Its record as it was read.
    #[must_use]
    pub fn record(&self) -> &api::Container {
        &self.record
    }

    /// Its specification.
    ///
    /// # Errors
    /// [`Error::Answer`] when the record has none that can be read.
    pub fn spec(&self) -> Result<Spec> {
        let unreadable =
            || Error::Answer { doing: format!("look at container {}", self.record.id), missing: "readable spec" };
        let spec = self.record.spec.as_ref().ok_or_else(unreadable)?;
        serde_json::from_slice(&spec.value).map_err(|_| unreadable())
    }

    /// Makes the task: afterwards its namespaces exist, a network may be furnished, and the user's program has not run.
    ///
    /// # Errors
    /// `AlreadyExists`; the runtime's own words when it refuses.
    pub async fn create_task(&self, io: Io) -> Result<(Task, Streams)> {
        let doing = format!("create the task of {}", self.record.id);
        let streams = io.open()?;
        let paths = streams.paths();
        let request = CreateTaskRequest {
            container_id: self.record.id.clone(),
            rootfs: self.mounts().await?,
            stdin: paths.stdin,
            stdout: paths.stdout,
            stderr: paths.stderr,
            terminal: streams.terminal(),
            ..CreateTaskRequest::default()
        };
        let answer = self.client.tasks().create(request).await.map_err(Error::during(doing))?.into_inner();
        Ok((Task::new(self.client.clone(), self.record.id.clone(), String::new(), answer.pid), streams))
    }

    /// The task that exists already.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn task(&self) -> Result<Task> {
        let task = Task::new(self.client.clone(), self.record.id.clone(), String::new(), 0);
        let pid = task.state().await?.pid;
        Ok(Task::new(self.client.clone(), self.record.id.clone(), String::new(), pid))
    }

    async fn mounts(&self) -> Result<Vec<Mount>> {
        let request = snapshots::MountsRequest {
            snapshotter: self.record.snapshotter.clone(),
            key: self.record.snapshot_key.clone(),
        };
        let doing = Error::during(format!("look for the root filesystem of {}", self.record.id));
        Ok(self.client.snapshots().mounts(request).await.map_err(doing)?.into_inner().mounts)
    }

    /// Removes the record and the root filesystem.
    ///
    /// # Errors
    /// `FailedPrecondition` while it has a task.
    pub async fn delete(self) -> Result<()> {
        let request = api::DeleteContainerRequest { id: self.record.id.clone() };
        let doing = Error::during(format!("delete container {}", self.record.id));
        self.client.containers().delete(request).await.map_err(doing)?;
        if self.record.snapshot_key.is_empty() {
            return Ok(());
        }
        match self.client.remove_snapshot(&self.record.snapshotter, &self.record.snapshot_key).await {
            // Without the record nothing holds the snapshot, and the collector may have been here first.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
