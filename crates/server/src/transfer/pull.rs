//! From a registry to the image store.

use std::sync::Arc;

use tonic::Status;
use wharf_api::containerd::types::transfer::{ImageStore, OciRegistry};
use wharf_fetch::Resolver;
use wharf_snapshot::Snapshotter;
use wharf_transfer::{Options, Puller, Report};
use wharf_types::{Labels, Platform, Reference};

use super::access::access;
use super::held::Held;
use super::names;
use super::progress::Reporter;
use super::save::save;
use crate::Services;
use crate::blocking::blocking;
use crate::call::Call;
use crate::convert::from_platform;
use crate::refuse::refuse;
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
    let to = if to.name.is_empty() { ImageStore { name: reference.to_string(), ..to } } else { to };
    let name = to.name.clone();
    let (options, unpacks) = wanted(&services, &to);
    let (puller, unpacks) = {
        let (services, call) = (services.clone(), call.clone());
        blocking(move || {
            let content = services.stores.content(&call.namespace, call.lease.as_deref()).map_err(refuse)?;
            let unpacks = snapshotters(&services, &call, unpacks)?;
            Ok((Puller { resolver, content, applier: services.applier.clone(), unpack: None }, unpacks))
        })
        .await?
    };
    reporter.say(format!("Resolving from {reference}"), "", None);
    let told = (reporter.clone(), name.clone());
    let progress: Report = Arc::new(move |progress| told.0.report(&told.1, &progress));
    let mut unpacks = unpacks.into_iter();
    let first = Puller { unpack: unpacks.next(), ..puller.clone() };
    let target = first.pull(&reference, &options, progress.clone()).await.map_err(refuse)?.target;
    for unpack in unpacks {
        // All is in the store by now.
        let again = Puller { unpack: Some(unpack), ..puller.clone() };
        again.pull_target(&reference, target.clone(), &options, progress.clone()).await.map_err(refuse)?;
    }
    let saved = target.clone();
    blocking(move || {
        for (name, labels) in names::of_target(&to, &saved) {
            save(&services, &call, &name, saved.clone(), labels)?;
        }
        Ok(())
    })
    .await?;
    reporter.say("saved", &name, Some(&target));
    reporter.say(format!("Completed pull from {reference}"), "", None);
    Ok(())
}

/// What is taken, and the snapshotters to unpack into.
pub(super) fn wanted(services: &Services, to: &ImageStore) -> (Options, Vec<String>) {
    let identity = &services.identity;
    let mut platforms: Vec<Platform> = to.platforms.iter().cloned().map(from_platform).collect();
    let here = to.unpacks.first().and_then(|unpack| unpack.platform.clone()).map(from_platform);
    let here = here.filter(|platform| !platform.os.is_empty()).unwrap_or_else(|| identity.platform.clone());
    if !platforms.contains(&here) && (!to.unpacks.is_empty() || platforms.is_empty()) {
        platforms.insert(0, here);
    }
    let mut unpacks: Vec<String> = Vec::new();
    for unpack in &to.unpacks {
        let named = Some(unpack.snapshotter.clone()).filter(|name| !name.is_empty());
        unpacks.extend(named.or_else(|| identity.snapshotters.first().cloned()).filter(|name| !unpacks.contains(name)));
    }
    let (all_platforms, all_metadata) = (to.platforms.is_empty(), to.all_metadata);
    (Options { platforms, all_platforms, all_metadata, concurrency: CONCURRENCY, labels: Labels::new() }, unpacks)
}

/// Snapshotters with their names.
pub(super) type Unpacks = Vec<(String, Arc<dyn Snapshotter>)>;

/// The snapshotters of these names. Blocks.
pub(super) fn snapshotters(services: &Services, call: &Call, names: Vec<String>) -> Result<Unpacks, Status> {
    let find = |name: String| {
        let found = services.stores.snapshotter(&call.namespace, &name, call.lease.as_deref()).map_err(refuse)?;
        Ok((name, found))
    };
    names.into_iter().map(find).collect()
}
