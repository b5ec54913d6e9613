//! Blobs by digest, and ingests by reference until their digest is known.

mod read;
mod write;

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, stream};
use tonic::{Request, Response, Status, Streaming, async_trait};
use wharf_api::containerd::services::content::v1 as api;
use wharf_content::{ContentStore, Info};

use crate::Stores;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, digest, label_change, signed, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`ContentStore`].
pub(crate) struct Content(pub(crate) Arc<dyn Stores>);

/// How many blobs one message of a list tells of.
const LIST_CHUNK: usize = 100;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Content {
    /// Runs `work` on the store as the caller's namespace sees it.
    async fn with<T: Send + 'static>(
        &self,
        call: Call,
        work: impl FnOnce(Arc<dyn ContentStore>) -> wharf_content::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let stores = self.0.clone();
        blocking(move || {
            let store = stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
            work(store).map_err(refuse)
        })
        .await
    }
}

#[async_trait]
impl api::content_server::Content for Content {
    type ListStream = Responses<api::ListContentResponse>;
    type ReadStream = Responses<api::ReadContentResponse>;
    type WriteStream = Responses<api::WriteContentResponse>;

    async fn info(&self, request: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        let call = Call::of(&request)?;
        let digest = digest(&request.into_inner().digest)?;
        let info = self.with(call, move |store| store.info(&digest)).await?;
        Ok(Response::new(api::InfoResponse { info: Some(message(info)) }))
    }

    async fn update(&self, request: Request<api::UpdateRequest>) -> Result<Response<api::UpdateResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let info = request.info.ok_or_else(|| missing("info"))?;
        let digest = digest(&info.digest)?;
        let change = label_change(request.update_mask, info.labels)?;
        let info = self.with(call, move |store| store.update(&digest, &change)).await?;
        Ok(Response::new(api::UpdateResponse { info: Some(message(info)) }))
    }

    async fn list(&self, request: Request<api::ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filters(&request.into_inner().filters)?;
        // All at once, so that a slow client holds no read of the database open.
        let all = self.with(call, move |store| {
            let mut all = Vec::new();
            let mut visit = |info| {
                all.push(message(info));
                Ok(())
            };
            store.walk(&filters, &mut visit)?;
            Ok(all)
        });
        let chunks: Vec<_> =
            all.await?.chunks(LIST_CHUNK).map(|info| Ok(api::ListContentResponse { info: info.to_vec() })).collect();
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }

    async fn delete(&self, request: Request<api::DeleteContentRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let digest = digest(&request.into_inner().digest)?;
        self.with(call, move |store| store.delete(&digest)).await?;
        Ok(Response::new(()))
    }

    async fn read(&self, request: Request<api::ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let digest = digest(&request.digest)?;
        let reader = self.with(call, move |store| store.reader(&digest)).await?;
        let range = read::range(reader.size(), request.offset, request.size)?;
        Ok(Response::new(Box::pin(read::chunks(reader.into(), range))))
    }

    async fn status(&self, request: Request<api::StatusRequest>) -> Result<Response<api::StatusResponse>, Status> {
        let call = Call::of(&request)?;
        let reference = request.into_inner().r#ref;
        let status = self.with(call, move |store| store.status(&reference)).await?;
        Ok(Response::new(api::StatusResponse { status: Some(status_message(status)) }))
    }

    async fn list_statuses(
        &self,
        request: Request<api::ListStatusesRequest>,
    ) -> Result<Response<api::ListStatusesResponse>, Status> {
        let call = Call::of(&request)?;
        let filters = convert::filters(&request.into_inner().filters)?;
        let statuses = self.with(call, move |store| store.statuses(&filters)).await?;
        let statuses = statuses.into_iter().map(status_message).collect();
        Ok(Response::new(api::ListStatusesResponse { statuses }))
    }

    async fn write(
        &self,
        request: Request<Streaming<api::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let call = Call::of(&request)?;
        let stores = self.0.clone();
        let store = blocking(move || stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)).await?;
        Ok(Response::new(Box::pin(write::responses(store, request.into_inner()))))
    }

    async fn abort(&self, request: Request<api::AbortRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let reference = request.into_inner().r#ref;
        self.with(call, move |store| store.abort(&reference)).await?;
        Ok(Response::new(()))
    }
}

fn message(info: Info) -> api::Info {
    api::Info {
        digest: info.digest.to_string(),
        size: signed(info.size),
        created_at: Some(timestamp(info.created_at)),
        updated_at: Some(timestamp(info.updated_at)),
        labels: to_labels(info.labels),
    }
}

fn status_message(status: wharf_content::Status) -> api::Status {
    api::Status {
        started_at: Some(timestamp(status.started_at)),
        updated_at: Some(timestamp(status.updated_at)),
        r#ref: status.reference,
        offset: signed(status.offset),
        total: signed(status.total.unwrap_or_default()),
        expected: status.expected.map(|digest| digest.to_string()).unwrap_or_default(),
    }
}
