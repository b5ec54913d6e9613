//! From a stream to the image store: all images of an archive, or none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tonic::Status;
use wharf_api::containerd::types::transfer::{ImageImportStream, ImageStore};
use wharf_metadata::Resource;
use wharf_transfer::{Imported, Importer, Report};
use wharf_types::{Descriptor, Labels, labels::GC_EXPIRE, rfc3339};

use super::bytes::{Gone, Received};
use super::progress::Reporter;
use super::pull::{snapshotters, wanted};
use super::{names, save::save};
use crate::Services;
use crate::blocking::{blocking, to_the_end};
use crate::call::Call;
use crate::refuse::refuse;
use crate::service::streaming::Streams;

/// When the lease of an import ends that a crash interrupted.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// Takes in the archive that a client sends. A call that is given up leaves nothing.
pub(crate) async fn import(
    services: Services,
    streams: &Streams,
    call: Call,
    from: ImageImportStream,
    to: ImageStore,
    reporter: Reporter,
) -> Result<(), Status> {
    let (_alive, gone) = watch::channel(());
    let received = Received::new(streams.take(&call.namespace, &from.stream)?, gone.clone());
    reporter.say("Importing", "", None);
    let told = reporter.clone();
    to_the_end(async move {
        let lease = lease(&services, &call).await?;
        let held = Call { lease: Some(lease.clone()), ..call.clone() };
        let taken = take(&services, &held, received, gone, from.force_compress, &to, &told).await;
        let saved = match taken {
            Ok(imported) => record(&services, &call, to, imported, told).await,
            Err(status) => Err(status),
        };
        let failed = saved.is_err();
        blocking(move || {
            services.leases.delete(&call.namespace, &lease).map_err(refuse)?;
            // What a refused archive brought goes at once.
            if failed { services.stores.collect().map_err(refuse) } else { Ok(()) }
        })
        .await?;
        saved
    })
    .await?;
    reporter.say("Completed import", "", None);
    Ok(())
}

/// A lease of the import's own, so that what comes of a bad archive is held by nothing else.
async fn lease(services: &Services, call: &Call) -> Result<String, Status> {
    let (services, namespace, id) = (services.clone(), call.namespace.clone(), uuid::Uuid::new_v4().to_string());
    let labels = Labels::from([(GC_EXPIRE.to_owned(), rfc3339::format(SystemTime::now() + EXPIRES))]);
    blocking(move || services.leases.create(&namespace, &id, &labels).map(|lease| lease.id).map_err(refuse)).await
}

async fn take(
    services: &Services,
    held: &Call,
    received: Received,
    mut gone: Gone,
    compress: bool,
    to: &ImageStore,
    reporter: &Reporter,
) -> Result<Imported, Status> {
    let (options, unpacks) = wanted(services, to);
    let importer = {
        let (services, held) = (services.clone(), held.clone());
        blocking(move || {
            let content = services.stores.content(&held.namespace, held.lease.as_deref()).map_err(refuse)?;
            let unpack = snapshotters(&services, &held, unpacks)?;
            Ok(Importer { content, applier: services.applier.clone(), unpack, compress })
        })
        .await?
    };
    let (told, name) = (reporter.clone(), to.name.clone());
    let report: Report = Arc::new(move |progress| told.report(&name, &progress));
    tokio::select! {
        imported = importer.import(Box::new(received), &options, report) => imported.map_err(refuse),
        _ = gone.changed() => Err(Status::cancelled("the import was given up")),
    }
}

/// Makes the records, and has the caller's lease hold what they stand for.
async fn record(
    services: &Services,
    call: &Call,
    to: ImageStore,
    imported: Imported,
    reporter: Reporter,
) -> Result<(), Status> {
    let (services, call) = (services.clone(), call.clone());
    blocking(move || {
        let whole = names::of_target(&to, &imported.index).into_iter().map(|named| (named, &imported.index));
        let each = imported.images.iter();
        let each = each.flat_map(|image| names::of_image(&to, image).into_iter().map(move |named| (named, image)));
        for ((name, labels), image) in whole.chain(each) {
            let target = Descriptor { annotations: Default::default(), ..image.clone() };
            if let Some(lease) = &call.lease {
                let resource = Resource { id: target.digest.to_string(), kind: "content".to_owned() };
                services.leases.add(&call.namespace, lease, &resource).map_err(refuse)?;
            }
            save(&services, &call, &name, target.clone(), labels)?;
            reporter.say("saved", &name, Some(&target));
        }
        Ok(())
    })
    .await
}
