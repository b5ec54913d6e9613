//! From the image store to itself: another name for an image.

use tonic::Status;
use wharf_api::containerd::types::transfer::ImageStore;

use super::save::save;
use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::labels;
use crate::refuse::refuse;

/// Has the name of `to` stand for what the name of `from` stands for.
pub(crate) async fn tag(services: Services, call: Call, from: ImageStore, to: ImageStore) -> Result<(), Status> {
    if to.name.is_empty() {
        return Err(Status::invalid_argument("the destination has no name"));
    }
    blocking(move || {
        let source = services.images.get(&call.namespace, &from.name).map_err(refuse)?;
        let mut all = source.labels;
        all.extend(labels(to.labels));
        save(&services, &call, &to.name, source.target, all)?;
        Ok(())
    })
    .await
}
