//! Names of images and what they stand for.

use std::time::SystemTime;

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::images::v1 as api;
use wharf_metadata::Image;

use crate::Services;
use crate::announce::announce;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{self, descriptor, from_descriptor, paths, timestamp, to_labels};
use crate::refuse::{missing, refuse};

/// Over [`wharf_metadata::Images`].
pub(crate) struct Images(pub(crate) Services);

#[async_trait]
impl api::images_server::Images for Images {
    async fn get(&self, request: Request<api::GetImageRequest>) -> Result<Response<api::GetImageResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.images.clone());
        let name = request.into_inner().name;
        let image = blocking(move || store.get(&call.namespace, &name).map_err(refuse)).await?;
        Ok(Response::new(api::GetImageResponse { image: Some(message(image)) }))
    }

    async fn list(
        &self,
        request: Request<api::ListImagesRequest>,
    ) -> Result<Response<api::ListImagesResponse>, Status> {
        let (call, store) = (Call::of(&request)?, self.0.images.clone());
        let filters = convert::filters(&request.into_inner().filters)?;
        let images = blocking(move || store.list(&call.namespace, &filters).map_err(refuse)).await?;
        Ok(Response::new(api::ListImagesResponse { images: images.into_iter().map(message).collect() }))
    }

    async fn create(
        &self,
        request: Request<api::CreateImageRequest>,
    ) -> Result<Response<api::CreateImageResponse>, Status> {
        let (call, services) = (Call::of(&request)?, self.0.clone());
        let wanted = record(request.into_inner().image)?;
        let image = blocking(move || create(&services, &call, wanted)).await?;
        Ok(Response::new(api::CreateImageResponse { image: Some(message(image)) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateImageRequest>,
    ) -> Result<Response<api::UpdateImageResponse>, Status> {
        let (call, services) = (Call::of(&request)?, self.0.clone());
        let mut request = request.into_inner();
        let paths = paths(request.update_mask);
        if let Some(image) = &mut request.image
            && !paths.is_empty()
            && !paths.iter().any(|path| path.starts_with("target"))
        {
            // A mask that leaves the target alone needs none, and ctr sends an empty one; what stands here is never looked at.
            let digest = wharf_types::Digest::of(b"").to_string();
            image.target = Some(wharf_api::containerd::types::Descriptor { digest, ..Default::default() });
        }
        let wanted = record(request.image)?;
        let image = blocking(move || update(&services, &call, wanted, &paths)).await?;
        Ok(Response::new(api::UpdateImageResponse { image: Some(message(image)) }))
    }

    async fn delete(&self, request: Request<api::DeleteImageRequest>) -> Result<Response<()>, Status> {
        let (call, services) = (Call::of(&request)?, self.0.clone());
        let request = request.into_inner();
        let target = request.target.map(|target| convert::digest(&target.digest)).transpose()?;
        blocking(move || {
            services.images.delete(&call.namespace, &request.name, target.as_ref()).map_err(refuse)?;
            let event = api::ImageDelete { name: request.name };
            let name = "containerd.services.images.v1.ImageDelete";
            announce(&*services.events, &call.namespace, "/images/delete", name, &event);
            if request.sync { services.stores.collect().map_err(refuse) } else { Ok(()) }
        })
        .await?;
        Ok(Response::new(()))
    }
}

/// Makes an image and tells of it.
pub(crate) fn create(services: &Services, call: &Call, wanted: Image) -> Result<Image, Status> {
    let image = services.images.create(&call.namespace, wanted).map_err(refuse)?;
    let event = api::ImageCreate { name: image.name.clone(), labels: to_labels(image.labels.clone()) };
    let name = "containerd.services.images.v1.ImageCreate";
    announce(&*services.events, &call.namespace, "/images/create", name, &event);
    Ok(image)
}

/// Changes an image and tells of it.
pub(crate) fn update(services: &Services, call: &Call, wanted: Image, paths: &[String]) -> Result<Image, Status> {
    let image = services.images.update(&call.namespace, wanted, paths).map_err(refuse)?;
    let event = api::ImageUpdate { name: image.name.clone(), labels: to_labels(image.labels.clone()) };
    let name = "containerd.services.images.v1.ImageUpdate";
    announce(&*services.events, &call.namespace, "/images/update", name, &event);
    Ok(image)
}

fn message(image: Image) -> api::Image {
    api::Image {
        name: image.name,
        labels: to_labels(image.labels),
        target: Some(descriptor(image.target)),
        created_at: Some(timestamp(image.created_at)),
        updated_at: Some(timestamp(image.updated_at)),
    }
}

fn record(image: Option<api::Image>) -> Result<Image, Status> {
    let image = image.ok_or_else(|| missing("image"))?;
    if image.name.is_empty() {
        return Err(Status::invalid_argument("an image needs a name"));
    }
    Ok(Image {
        name: image.name,
        target: from_descriptor(image.target.ok_or_else(|| missing("target"))?)?,
        labels: convert::labels(image.labels),
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    })
}
