//! Layered filesystems by key and parent.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::snapshots::v1 as api;
use wharf_metadata::Namespaces;
use wharf_snapshot::{Base, Commit, Info, Kind, Snapshotter};

use crate::Stores;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, label_change, mounts, signed, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`Snapshotter`].
pub(crate) struct Snapshots {
    /// Where snapshotters are found.
    pub(crate) stores: Arc<dyn Stores>,
    /// Whose labels say which snapshotter is meant where none is named; without them it is the only one there is.
    pub(crate) namespaces: Option<Arc<dyn Namespaces>>,
}

/// How many snapshots one message of a list tells of.
const LIST_CHUNK: usize = 100;

/// The label of a namespace that names its snapshotter.
const DEFAULT_SNAPSHOTTER: &str = "containerd.io/defaults/snapshotter";

impl Snapshots {
    /// Runs `work` on the snapshotter `name` as the caller's namespace sees it.
    async fn with<T: Send + 'static>(
        &self,
        call: Call,
        name: String,
        work: impl FnOnce(Arc<dyn Snapshotter>) -> wharf_snapshot::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let (stores, namespaces) = (self.stores.clone(), self.namespaces.clone());
        blocking(move || {
            let name = match namespaces {
                Some(namespaces) if name.is_empty() => default_snapshotter(&*namespaces, &call)?,
                _ => name,
            };
            let found = stores.snapshotter(&call.namespace, &name, call.lease.as_deref()).map_err(refuse)?;
            work(found).map_err(refuse)
        })
        .await
    }
}

fn default_snapshotter(namespaces: &dyn Namespaces, call: &Call) -> Result<String, Status> {
    let labels = namespaces.get(&call.namespace).map(|record| record.labels).unwrap_or_default();
    labels.get(DEFAULT_SNAPSHOTTER).cloned().ok_or_else(|| {
        Status::invalid_argument(format!(
            "the request names no snapshotter, and namespace {} has no label {DEFAULT_SNAPSHOTTER}",
            call.namespace
        ))
    })
}

#[async_trait]
impl api::snapshots_server::Snapshots for Snapshots {
    type ListStream = Pin<Box<dyn Stream<Item = Result<api::ListSnapshotsResponse, Status>> + Send>>;

    async fn prepare(
        &self,
        request: Request<api::PrepareSnapshotRequest>,
    ) -> Result<Response<api::PrepareSnapshotResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let labels = convert::labels(request.labels);
        let made = self.with(call, request.snapshotter, move |snapshotter| {
            let base = if request.parent.is_empty() { Base::Empty } else { Base::On(&request.parent) };
            snapshotter.prepare(&request.key, base, &labels)
        });
        Ok(Response::new(api::PrepareSnapshotResponse { mounts: mounts(made.await?) }))
    }

    async fn view(
        &self,
        request: Request<api::ViewSnapshotRequest>,
    ) -> Result<Response<api::ViewSnapshotResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let labels = convert::labels(request.labels);
        let made = self.with(call, request.snapshotter, move |snapshotter| {
            let parent = Some(request.parent.as_str()).filter(|parent| !parent.is_empty());
            snapshotter.view(&request.key, parent, &labels)
        });
        Ok(Response::new(api::ViewSnapshotResponse { mounts: mounts(made.await?) }))
    }

    async fn mounts(&self, request: Request<api::MountsRequest>) -> Result<Response<api::MountsResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let found = self.with(call, request.snapshotter, move |snapshotter| snapshotter.mounts(&request.key));
        Ok(Response::new(api::MountsResponse { mounts: mounts(found.await?) }))
    }

    async fn commit(&self, request: Request<api::CommitSnapshotRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let commit = Commit {
            name: request.name,
            key: request.key,
            labels: convert::labels(request.labels),
            parent: Some(request.parent).filter(|parent| !parent.is_empty()),
        };
        self.with(call, request.snapshotter, move |snapshotter| snapshotter.commit(&[commit])).await?;
        Ok(Response::new(()))
    }

    async fn remove(&self, request: Request<api::RemoveSnapshotRequest>) -> Result<Response<()>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        self.with(call, request.snapshotter, move |snapshotter| snapshotter.remove(&request.key)).await?;
        Ok(Response::new(()))
    }

    async fn stat(
        &self,
        request: Request<api::StatSnapshotRequest>,
    ) -> Result<Response<api::StatSnapshotResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let info = self.with(call, request.snapshotter, move |snapshotter| snapshotter.stat(&request.key)).await?;
        Ok(Response::new(api::StatSnapshotResponse { info: Some(message(info)) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateSnapshotRequest>,
    ) -> Result<Response<api::UpdateSnapshotResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let info = request.info.ok_or_else(|| missing("info"))?;
        let change = label_change(request.update_mask, info.labels)?;
        let changed = self.with(call, request.snapshotter, move |snapshotter| snapshotter.update(&info.name, &change));
        Ok(Response::new(api::UpdateSnapshotResponse { info: Some(message(changed.await?)) }))
    }

    async fn list(&self, request: Request<api::ListSnapshotsRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let filters = convert::filters(&request.filters)?;
        // All at once, so that a slow client holds no read of the database open.
        let all = self.with(call, request.snapshotter, move |snapshotter| {
            let mut all = Vec::new();
            let mut visit = |info| {
                all.push(message(info));
                Ok(())
            };
            snapshotter.walk(&filters, &mut visit)?;
            Ok(all)
        });
        let chunk = |info: &[api::Info]| Ok(api::ListSnapshotsResponse { info: info.to_vec() });
        let chunks: Vec<_> = all.await?.chunks(LIST_CHUNK).map(chunk).collect();
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }

    async fn usage(&self, request: Request<api::UsageRequest>) -> Result<Response<api::UsageResponse>, Status> {
        let (call, request) = (Call::of(&request)?, request.into_inner());
        let usage = self.with(call, request.snapshotter, move |snapshotter| snapshotter.usage(&request.key)).await?;
        Ok(Response::new(api::UsageResponse { size: signed(usage.size), inodes: signed(usage.inodes) }))
    }

    async fn cleanup(&self, request: Request<api::CleanupRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        self.with(call, request.into_inner().snapshotter, |snapshotter| snapshotter.cleanup()).await?;
        Ok(Response::new(()))
    }
}

fn message(info: Info) -> api::Info {
    let kind = match info.kind {
        Kind::View => api::Kind::View,
        Kind::Active => api::Kind::Active,
        Kind::Committed => api::Kind::Committed,
    };
    api::Info {
        name: info.name,
        parent: info.parent.unwrap_or_default(),
        kind: kind.into(),
        created_at: Some(timestamp(info.created_at)),
        updated_at: Some(timestamp(info.updated_at)),
        labels: to_labels(info.labels),
    }
}
