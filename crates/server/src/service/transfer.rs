//! Moves an image from a source to a destination.

use prost::Message;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::transfer::v1 as api;
use wharf_api::containerd::types::transfer::{ImageExportStream, ImageImportStream, ImageStore, OciRegistry};

use crate::Services;
use crate::call::Call;
use crate::convert::type_name;
use crate::refuse::{missing, unimplemented};
use crate::service::streaming::Streams;
use crate::transfer::{Reporter, export, import, pull, push, tag};

/// Over [`wharf_transfer`] and the image store.
pub(crate) struct Transfer {
    services: Services,
    streams: Streams,
}

/// An end of a transfer.
enum End {
    Registry(OciRegistry),
    Images(ImageStore),
    Import(ImageImportStream),
    Export(ImageExportStream),
    Other(String),
}

impl Transfer {
    /// Transfers over `services`, whose progress goes out by `streams`.
    pub(crate) fn new(services: Services, streams: Streams) -> Self {
        Self { services, streams }
    }
}

#[async_trait]
impl api::transfer_server::Transfer for Transfer {
    async fn transfer(&self, request: Request<api::TransferRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let source = end(request.source.ok_or_else(|| missing("source"))?)?;
        let destination = end(request.destination.ok_or_else(|| missing("destination"))?)?;
        let progress = request.options.map(|options| options.progress_stream).filter(|stream| !stream.is_empty());
        let progress = progress.map(|id| self.streams.take(&call.namespace, &id)).transpose()?;
        let reporter = Reporter::new(progress);
        match (source, destination) {
            (End::Registry(from), End::Images(to)) => {
                pull::pull(self.services.clone(), &self.streams, call, from, to, reporter).await?;
            }
            (End::Images(from), End::Registry(to)) => {
                push::push(self.services.clone(), &self.streams, call, from, to, reporter).await?;
            }
            (End::Import(from), End::Images(to)) => {
                import::import(self.services.clone(), &self.streams, call, from, to, reporter).await?;
            }
            (End::Images(from), End::Export(to)) => {
                export::export(self.services.clone(), &self.streams, call, from, to, reporter).await?;
            }
            (End::Images(from), End::Images(to)) => tag::tag(self.services.clone(), call, from, to).await?,
            (from, to) => {
                return Err(unimplemented(format!(
                    "a transfer from {} to {} is not built yet",
                    from.name(),
                    to.name()
                )));
            }
        }
        Ok(Response::new(()))
    }
}

impl End {
    fn name(&self) -> &str {
        match self {
            Self::Registry(_) => "a registry",
            Self::Images(_) => "the image store",
            Self::Import(_) => "a stream that brings an archive",
            Self::Export(_) => "a stream that takes an archive",
            Self::Other(name) => name,
        }
    }
}

fn end(any: prost_types::Any) -> Result<End, Status> {
    let malformed = |error| Status::invalid_argument(format!("{}: {error}", any.type_url));
    match type_name(&any.type_url) {
        "containerd.types.transfer.OCIRegistry" => {
            OciRegistry::decode(any.value.as_slice()).map(End::Registry).map_err(malformed)
        }
        "containerd.types.transfer.ImageStore" => {
            ImageStore::decode(any.value.as_slice()).map(End::Images).map_err(malformed)
        }
        "containerd.types.transfer.ImageImportStream" => {
            ImageImportStream::decode(any.value.as_slice()).map(End::Import).map_err(malformed)
        }
        "containerd.types.transfer.ImageExportStream" => {
            ImageExportStream::decode(any.value.as_slice()).map(End::Export).map_err(malformed)
        }
        name => Ok(End::Other(name.to_owned())),
    }
}
