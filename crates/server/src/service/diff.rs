//! A layer to a tree of files, and back.

mod write;

use std::io::{self, Read};
use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::diff::v1 as api;
use wharf_content::Reader;
use wharf_diff::{Applier, Comparer, Comparison};
use wharf_types::Descriptor;

use crate::Stores;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{descriptor, from_descriptor, from_mount, labels, time};
use crate::refuse::{missing, refuse, unimplemented};

/// Over [`Applier`] and [`Comparer`].
#[derive(Clone)]
pub(crate) struct Diff {
    /// Where layers come from and go to.
    pub(crate) stores: Arc<dyn Stores>,
    /// What extracts layers.
    pub(crate) applier: Arc<dyn Applier>,
    /// What writes them.
    pub(crate) comparer: Arc<dyn Comparer>,
}

/// The media type of what an applied layer inflates to.
const UNCOMPRESSED: &str = "application/vnd.oci.image.layer.v1.tar";

#[async_trait]
impl api::diff_server::Diff for Diff {
    async fn apply(&self, request: Request<api::ApplyRequest>) -> Result<Response<api::ApplyResponse>, Status> {
        let (call, services) = (Call::of(&request)?, self.clone());
        let request = request.into_inner();
        if let Some(payload) = request.payloads.keys().next() {
            return Err(unimplemented(format!("a payload for the stream processor {payload:?}: there are none here")));
        }
        let layer = from_descriptor(request.diff.ok_or_else(|| missing("diff"))?)?;
        let mounts: Vec<_> = request.mounts.into_iter().map(from_mount).collect();
        // `sync_fs` asks for nothing more: a snapshot's files are written to disk when it is committed, always.
        let applied = blocking(move || {
            let store = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
            let blob = store.reader(&layer.digest).map_err(refuse)?;
            let mut bytes = Bytes { blob, offset: 0 };
            let applied = services.applier.apply(&mut bytes, &layer.media_type, &mounts).map_err(refuse)?;
            Ok(Descriptor::new(UNCOMPRESSED, applied.diff_id, applied.size))
        });
        Ok(Response::new(api::ApplyResponse { applied: Some(descriptor(applied.await?)) }))
    }

    async fn diff(&self, request: Request<api::DiffRequest>) -> Result<Response<api::DiffResponse>, Status> {
        let (call, services) = (Call::of(&request)?, self.clone());
        let request = request.into_inner();
        let epoch = request.source_date_epoch.map(time).transpose()?;
        let wanted = write::Wanted {
            lower: request.left.into_iter().map(from_mount).collect(),
            upper: request.right.into_iter().map(from_mount).collect(),
            comparison: Comparison { media_type: request.media_type, source_date_epoch: epoch },
            reference: Some(request.r#ref).filter(|reference| !reference.is_empty()),
            labels: labels(request.labels),
        };
        let written = blocking(move || {
            let store = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
            write::write(&*store, &*services.comparer, wanted)
        });
        Ok(Response::new(api::DiffResponse { diff: Some(descriptor(written.await?)) }))
    }
}

/// A blob from its first byte to its last.
struct Bytes {
    blob: Box<dyn Reader>,
    offset: u64,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.blob.read_at(buffer, self.offset).map_err(io::Error::other)?;
        self.offset += read as u64;
        Ok(read)
    }
}
