//! A foreign snapshotter.

use std::collections::HashSet;

use tonic::Response;
use tonic::transport::Channel;
use wharf_api::containerd::services::snapshots::v1 as api;
use wharf_api::containerd::services::snapshots::v1::snapshots_client::SnapshotsClient;
use wharf_snapshot::{Base, Commit, Error, Info, Kind, Result, Snapshotter, Usage};
use wharf_types::{ErrorKind, Filters, Kind as _, LabelChange, Labels, Mount};

use crate::convert::{change, from_mounts, time, unsigned};
use crate::plugin::MAX_MESSAGE;
use crate::{Plugin, Refusal};

/// The snapshotter that a plugin serves.
///
/// The API commits one snapshot at a time: of a batch, everything that can be looked at is looked at before the first is
/// committed, but one that fails later all the same (the plugin dies, its disk is full) leaves those before it committed.
#[derive(Clone, Debug)]
pub struct ProxySnapshotter {
    plugin: Plugin,
}

/// Calls a method about a snapshot and waits for the answer.
macro_rules! ask {
    ($this:ident.$method:ident($name:expr, $message:expr)) => {{
        let (mut client, request) = ($this.client(), $this.plugin.request($message));
        let doing = format!(concat!(stringify!($method), " snapshot {:?}"), $name);
        $this.plugin.wait(doing, async move { client.$method(request).await.map(Response::into_inner) })
    }};
}

impl ProxySnapshotter {
    /// Over `plugin`. It is asked for the snapshotter of its own name.
    #[must_use]
    pub fn new(plugin: Plugin) -> Self {
        Self { plugin }
    }

    fn client(&self) -> SnapshotsClient<Channel> {
        let client = SnapshotsClient::new(self.plugin.channel());
        client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }

    fn snapshotter(&self) -> String {
        self.plugin.name().to_owned()
    }

    /// What a plugin says of a snapshot.
    fn read(&self, found: Option<api::Info>) -> Result<Info> {
        let odd = |lacks: &str| {
            let reason = format!("the answer has no {lacks}");
            Refusal::odd(&self.plugin, "look at a snapshot", reason).snapshot("", "")
        };
        let info = found.ok_or_else(|| odd("info"))?;
        let kind = match info.kind() {
            api::Kind::View => Kind::View,
            api::Kind::Active => Kind::Active,
            api::Kind::Committed => Kind::Committed,
            api::Kind::Unknown => return Err(odd("kind of snapshot")),
        };
        Ok(Info {
            name: info.name,
            parent: Some(info.parent).filter(|parent| !parent.is_empty()),
            kind,
            created_at: time(info.created_at),
            updated_at: time(info.updated_at),
            labels: info.labels.into_iter().collect(),
        })
    }

    /// Refuses a batch that could be committed only in part.
    fn look_over(&self, batch: &[Commit]) -> Result<()> {
        let (mut names, mut keys) = (HashSet::new(), HashSet::new());
        for Commit { name, key, labels, parent } in batch {
            if name.is_empty() {
                return Err(Error::Invalid(format!("snapshot {key:?} cannot be committed under an empty name")));
            }
            wharf_types::labels::validate(labels).map_err(|error| Error::Invalid(error.to_string()))?;
            if !keys.insert(key) {
                return Err(Error::NotFound(key.clone()));
            }
            if self.stat(key)?.kind != Kind::Active {
                let reason = "only active ones can be committed".to_owned();
                return Err(Error::Precondition { name: key.clone(), reason });
            }
            if let Some(parent) = parent
                && !names.contains(parent)
            {
                self.stat(parent)?;
            }
            if !names.insert(name) {
                return Err(Error::AlreadyExists(name.clone()));
            }
            match self.stat(name) {
                Ok(_) => return Err(Error::AlreadyExists(name.clone())),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn commit_one(&self, commit: &Commit) -> Result<()> {
        let message = api::CommitSnapshotRequest {
            snapshotter: self.snapshotter(),
            name: commit.name.clone(),
            key: commit.key.clone(),
            labels: commit.labels.clone().into_iter().collect(),
            parent: commit.parent.clone().unwrap_or_default(),
        };
        ask!(self.commit(commit.key, message)).map_err(|refusal| refusal.snapshot(&commit.key, &commit.name))
    }

    /// All snapshots, in the order that the plugin lists them.
    fn list(&self) -> Result<Vec<api::Info>> {
        let (mut client, snapshotter) = (self.client(), self.snapshotter());
        let request = self.plugin.request(api::ListSnapshotsRequest { snapshotter, filters: Vec::new() });
        let refused = |refusal: Refusal| refusal.snapshot("", "");
        let doing = "list snapshots";
        let mut stream = self
            .plugin
            .wait(doing, async move { client.list(request).await.map(Response::into_inner) })
            .map_err(refused)?;
        let mut all = Vec::new();
        loop {
            let next = async move { stream.message().await.map(|next| (next, stream)) };
            let (next, rest) = self.plugin.wait(doing, next).map_err(refused)?;
            let Some(next) = next else { return Ok(all) };
            all.extend(next.info);
            stream = rest;
        }
    }
}

impl Snapshotter for ProxySnapshotter {
    fn stat(&self, name: &str) -> Result<Info> {
        let message = api::StatSnapshotRequest { snapshotter: self.snapshotter(), key: name.to_owned() };
        self.read(ask!(self.stat(name, message)).map_err(|refusal| refusal.snapshot(name, name))?.info)
    }

    fn update(&self, name: &str, wanted: &LabelChange) -> Result<Info> {
        let Some((labels, mask)) = change(wanted) else { return self.stat(name) };
        let info = api::Info { name: name.to_owned(), labels: labels.into_iter().collect(), ..api::Info::default() };
        let message =
            api::UpdateSnapshotRequest { snapshotter: self.snapshotter(), info: Some(info), update_mask: Some(mask) };
        self.read(ask!(self.update(name, message)).map_err(|refusal| refusal.snapshot(name, name))?.info)
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        let message = api::UsageRequest { snapshotter: self.snapshotter(), key: name.to_owned() };
        let usage = ask!(self.usage(name, message)).map_err(|refusal| refusal.snapshot(name, name))?;
        Ok(Usage { size: unsigned(usage.size), inodes: unsigned(usage.inodes) })
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let message = api::MountsRequest { snapshotter: self.snapshotter(), key: key.to_owned() };
        let answer = ask!(self.mounts(key, message)).map_err(|refusal| refusal.snapshot(key, key))?;
        Ok(from_mounts(answer.mounts))
    }

    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> Result<Vec<Mount>> {
        let parent = match base {
            Base::Empty => "",
            Base::On(parent) => parent,
            Base::Later => {
                let reason = "a parent that is named later is nothing that the API can say";
                let kind = ErrorKind::Unimplemented;
                return Err(Error::Other { doing: format!("prepare snapshot {key:?}"), kind, source: reason.into() });
            }
        };
        let message = api::PrepareSnapshotRequest {
            snapshotter: self.snapshotter(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: labels.clone().into_iter().collect(),
        };
        let answer = ask!(self.prepare(key, message)).map_err(|refusal| refusal.snapshot(parent, key))?;
        Ok(from_mounts(answer.mounts))
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>> {
        let parent = parent.unwrap_or_default();
        let message = api::ViewSnapshotRequest {
            snapshotter: self.snapshotter(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: labels.clone().into_iter().collect(),
        };
        let answer = ask!(self.view(key, message)).map_err(|refusal| refusal.snapshot(parent, key))?;
        Ok(from_mounts(answer.mounts))
    }

    fn commit(&self, batch: &[Commit]) -> Result<()> {
        if batch.len() > 1 {
            self.look_over(batch)?;
        }
        batch.iter().try_for_each(|commit| self.commit_one(commit))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let message = api::RemoveSnapshotRequest { snapshotter: self.snapshotter(), key: name.to_owned() };
        ask!(self.remove(name, message)).map_err(|refusal| refusal.snapshot(name, name))
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        // Filtered here: ours say more than a plugin may understand.
        for found in self.list()? {
            let info = self.read(Some(found))?;
            if filters.matches(&info) {
                visit(info)?;
            }
        }
        Ok(())
    }

    fn cleanup(&self) -> Result<()> {
        let message = api::CleanupRequest { snapshotter: self.snapshotter() };
        match ask!(self.cleanup("", message)) {
            // Many have nothing to clean up.
            Err(refusal) if refusal.kind() == ErrorKind::Unimplemented => Ok(()),
            cleaned => cleaned.map_err(|refusal| refusal.snapshot("", "")),
        }
    }
}
