//! From the image store to a stream: images as one archive.

use std::io::BufWriter;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;
use wharf_api::containerd::types::transfer::{ImageExportStream, ImageStore};
use wharf_transfer::{Exporter, Report};
use wharf_types::{Descriptor, Platform};

use super::bytes::Sent;
use super::progress::Reporter;
use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::from_platform;
use crate::refuse::{refuse, unimplemented};
use crate::service::streaming::Streams;

/// How much is gathered before it is sent, in bytes.
const GATHERED: usize = 32 * 1024;

/// Writes an archive of the images that `from` names.
pub(crate) async fn export(
    services: Services,
    streams: &Streams,
    call: Call,
    from: ImageStore,
    to: ImageExportStream,
    reporter: Reporter,
) -> Result<(), Status> {
    // Dropped with this call, which ends the thread.
    let (_alive, gone) = watch::channel(());
    let mut sent = Sent::new(streams.take(&call.namespace, &to.stream)?, gone);
    reporter.say("Exporting", "", None);
    let told = reporter.clone();
    blocking(move || {
        let report: Report = Arc::new(move |progress| told.report("", &progress));
        let written = write(&services, &call, from, to, &mut sent, &report);
        if let Err(status) = &written {
            sent.fail(status);
        }
        written
    })
    .await?;
    reporter.say("Completed export", "", None);
    Ok(())
}

fn write(
    services: &Services,
    call: &Call,
    from: ImageStore,
    to: ImageExportStream,
    sent: &mut Sent,
    report: &Report,
) -> Result<(), Status> {
    let platforms: Vec<Platform> = match (to.all_platforms, to.platforms.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![services.identity.platform.clone()],
        (false, false) => to.platforms.into_iter().map(from_platform).collect(),
    };
    let content = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
    let (docker, skip_foreign) = (!to.skip_compatibility_manifest, to.skip_non_distributable);
    let images = images(services, call, &from)?;
    let exporter = Exporter { content, platforms, docker, skip_foreign };
    exporter.export(&images, &mut BufWriter::with_capacity(GATHERED, sent), report).map_err(refuse)
}

/// The images that are named.
fn images(services: &Services, call: &Call, from: &ImageStore) -> Result<Vec<(String, Descriptor)>, Status> {
    if from.extra_references.iter().any(|reference| reference.is_prefix) {
        return Err(unimplemented("exporting all images under a prefix is not built: name each image"));
    }
    let first = Some(&from.name).filter(|name| !name.is_empty());
    let names = first.into_iter().chain(from.extra_references.iter().map(|reference| &reference.name));
    let get = |name: &String| {
        let image = services.images.get(&call.namespace, name).map_err(refuse)?;
        Ok((image.name, image.target))
    };
    let images: Vec<(String, Descriptor)> = names.map(get).collect::<Result<_, Status>>()?;
    if images.is_empty() { Err(Status::invalid_argument("no image is named to be exported")) } else { Ok(images) }
}
