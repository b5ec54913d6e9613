//! From the image store to a registry.

use std::sync::Arc;

use tonic::Status;
use wharf_api::containerd::types::transfer::{ImageStore, OciRegistry};
use wharf_transfer::Pusher;
use wharf_types::{Platform, Reference};

use super::access::access;
use super::progress::Reporter;
use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::from_platform;
use crate::refuse::refuse;
use crate::service::streaming::Streams;

/// How many blobs of one image are under way at once.
const CONCURRENCY: usize = 4;

/// Pushes an image.
pub(crate) async fn push(
    services: Services,
    streams: &Streams,
    call: Call,
    from: ImageStore,
    to: OciRegistry,
    reporter: Reporter,
) -> Result<(), Status> {
    let reference: Reference = to.reference.parse().map_err(refuse)?;
    let access = access(streams, &call.namespace, &to.reference, to.resolver)?;
    let resolver = services.registries.resolver(access).map_err(refuse)?;
    let platforms: Vec<Platform> = from.platforms.into_iter().map(from_platform).collect();
    let (image, content) = blocking(move || {
        let image = services.images.get(&call.namespace, &from.name).map_err(refuse)?;
        let content = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
        Ok((image, content))
    })
    .await?;
    reporter.say(format!("Pushing to {reference}"), "", None);
    reporter.say("pushing content", &image.name, Some(&image.target));
    let told = (reporter.clone(), image.name.clone());
    let progress = move |progress| told.0.report(&told.1, &progress);
    let pusher = Pusher { resolver, content, platforms, concurrency: CONCURRENCY };
    pusher.push(&image.target, &reference, Arc::new(progress)).await.map_err(refuse)?;
    reporter.say("pushed content", &image.name, Some(&image.target));
    reporter.say(format!("Completed push to {reference}"), "", Some(&image.target));
    Ok(())
}
