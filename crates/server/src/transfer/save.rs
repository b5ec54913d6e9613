//! Image records that a transfer makes.

use std::time::SystemTime;

use tonic::{Code, Status};
use wharf_metadata::Image;
use wharf_types::{Descriptor, Labels};

use crate::Services;
use crate::call::Call;
use crate::service::images;

/// Has `name` stand for `target`: makes the record, or changes the one that is there. Blocks.
pub(super) fn save(
    services: &Services,
    call: &Call,
    name: &str,
    target: Descriptor,
    labels: Labels,
) -> Result<Image, Status> {
    let mut paths = vec!["target".to_owned()];
    paths.extend(labels.keys().map(|key| format!("labels.{key}")));
    let (created_at, updated_at) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
    let image = Image { name: name.to_owned(), target, labels, created_at, updated_at };
    match images::create(services, call, image.clone()) {
        Err(status) if status.code() == Code::AlreadyExists => images::update(services, call, image, &paths),
        other => other,
    }
}
