//! From a registry to the image store.

use std::sync::Arc;

use tonic::Status;
use wharf_api::containerd::types::transfer::{ImageStore, OciRegistry, UnpackConfiguration};
use wharf_fetch::Resolver;
use wharf_snapshot::Snapshotter;
use wharf_transfer::{Options, Puller};
use wharf_types::{Labels, Platform, Reference};

use super::access::access;
use super::held::Held;
use super::progress::Reporter;
use super::save::save;
use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::{from_platform, labels};
use crate::refuse::{refuse, unimplemented};
use crate::service::streaming::Streams;

/// How many layers of one image are under way at once.
const CONCURRENCY: usize = 4;

/// Pulls an image, unpacks it where that is asked for, and makes its record. Given up, it leaves ingests to go on from.
pub(crate) async fn pull(
    services: Services,
    streams: &Streams,
    mut call: Call,
    from: OciRegistry,
    to: ImageStore,
    reporter: Reporter,
) -> Result<(), Status> {
    check(&to)?;
    let reference: Reference = from.reference.parse().map_err(refuse)?;
    let access = access(streams, &call.namespace, &from.reference, from.resolver)?;
    let resolver = services.registries.resolver(access).map_err(refuse)?;
    let held = match call.lease {
        Some(_) => None,
        None => {
            let (pulls, leases) = (services.pulls.clone(), services.leases.clone());
            Some(Held::begin(pulls, leases, call.namespace.clone(), &reference).await?)
        }
    };
    call.lease = call.lease.or_else(|| held.as_ref().map(|held| held.id.clone()));
    let pulled = pull_held(services, call, reference, resolver, to, reporter).await;
    if let Some(held) = held {
        held.end(&pulled).await?;
    }
    pulled
}

/// Pulls under the call's lease.
async fn pull_held(
    services: Services,
    call: Call,
    reference: Reference,
    resolver: Arc<dyn Resolver>,
    to: ImageStore,
    reporter: Reporter,
) -> Result<(), Status> {
    let name = if to.name.is_empty() { reference.to_string() } else { to.name.clone() };
    let (options, unpack) = wanted(&services, &to);
    let puller = {
        let (services, call) = (services.clone(), call.clone());
        blocking(move || {
            let content = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
            let unpack = unpack.map(|name| snapshotter(&services, &call, name)).transpose()?;
            Ok(Puller { resolver, content, applier: services.applier.clone(), unpack })
        })
        .await?
    };
    reporter.say(format!("Resolving from {reference}"), "", None);
    let told = (reporter.clone(), name.clone());
    let progress = move |progress| told.0.report(&told.1, &progress);
    let pulled = puller.pull(&reference, &options, Arc::new(progress)).await.map_err(refuse)?;
    let (target, saved) = (pulled.target.clone(), name.clone());
    blocking(move || save(&services, &call, &saved, target, labels(to.labels))).await?;
    reporter.say("saved", &name, Some(&pulled.target));
    reporter.say(format!("Completed pull from {reference}"), "", None);
    Ok(())
}

/// Refuses what would otherwise be passed over.
fn check(to: &ImageStore) -> Result<(), Status> {
    if to.all_metadata {
        return Err(unimplemented("fetching the manifests of platforms whose layers are not fetched is not built yet"));
    }
    if !to.extra_references.is_empty() {
        return Err(unimplemented("further names for a pulled image are not built yet; tag it afterwards"));
    }
    if to.unpacks.len() > 1 {
        return Err(unimplemented("a pull unpacks into one snapshotter; pull again for the next"));
    }
    Ok(())
}

/// What is fetched, and the snapshotter to unpack into.
fn wanted(services: &Services, to: &ImageStore) -> (Options, Option<String>) {
    let identity = &services.identity;
    let unpack = to.unpacks.first();
    let mut platforms: Vec<Platform> = to.platforms.iter().cloned().map(from_platform).collect();
    let here = unpack.and_then(|unpack| unpack.platform.clone()).map(from_platform);
    let here = here.filter(|platform| !platform.os.is_empty()).unwrap_or_else(|| identity.platform.clone());
    if !platforms.contains(&here) && (unpack.is_some() || platforms.is_empty()) {
        platforms.insert(0, here);
    }
    let name = |unpack: &UnpackConfiguration| {
        let named = Some(unpack.snapshotter.clone()).filter(|name| !name.is_empty());
        named.or_else(|| identity.snapshotters.first().cloned())
    };
    let all_platforms = to.platforms.is_empty();
    (Options { platforms, all_platforms, concurrency: CONCURRENCY, labels: Labels::new() }, unpack.and_then(name))
}

fn snapshotter(services: &Services, call: &Call, name: String) -> Result<(String, Arc<dyn Snapshotter>), Status> {
    let found = services.stores.snapshotter(&call.namespace, &name, call.lease.as_deref()).map_err(refuse)?;
    Ok((name, found))
}
