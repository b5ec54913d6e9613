//! Between the API's messages and the words of the crates.

mod mask;

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

pub(crate) use mask::{label_change, paths};
use tonic::Status;
use wharf_api::containerd::types as api;
use wharf_types::{Any, Descriptor, Digest, Filters, Labels, Mount, Platform};

use crate::refuse::refuse;

/// A point in time.
pub(crate) fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// A point in time that a client named.
pub(crate) fn time(timestamp: prost_types::Timestamp) -> Result<SystemTime, Status> {
    SystemTime::try_from(timestamp).map_err(|error| Status::invalid_argument(format!("timestamp: {error}")))
}

/// Any message, as the API has it.
pub(crate) fn any(any: Any) -> prost_types::Any {
    prost_types::Any { type_url: any.type_url, value: any.value }
}

/// Any message, as it is stored.
pub(crate) fn from_any(any: prost_types::Any) -> Any {
    Any { type_url: any.type_url, value: any.value }
}

/// Packs a message under its full name, as containerd names types (no host before it).
pub(crate) fn pack(name: &str, message: &impl prost::Message) -> Any {
    Any { type_url: name.to_owned(), value: message.encode_to_vec() }
}

/// The full name of a type URL's type.
pub(crate) fn type_name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// Labels in their order.
pub(crate) fn labels(labels: HashMap<String, String>) -> Labels {
    labels.into_iter().collect()
}

/// Labels as the API has them.
pub(crate) fn to_labels(labels: Labels) -> HashMap<String, String> {
    labels.into_iter().collect()
}

/// A mount that a client brought.
pub(crate) fn from_mount(mount: api::Mount) -> Mount {
    Mount { kind: mount.r#type, source: mount.source, target: mount.target, options: mount.options }
}

/// Mounts for a client.
pub(crate) fn mounts(mounts: Vec<Mount>) -> Vec<api::Mount> {
    let mount = |m: Mount| api::Mount { r#type: m.kind, source: m.source, target: m.target, options: m.options };
    mounts.into_iter().map(mount).collect()
}

/// A digest that a client named.
pub(crate) fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(refuse)
}

/// A digest where an empty text means none.
pub(crate) fn optional_digest(text: &str) -> Result<Option<Digest>, Status> {
    if text.is_empty() { Ok(None) } else { digest(text).map(Some) }
}

/// A number that must not be negative.
pub(crate) fn unsigned(what: &str, number: i64) -> Result<u64, Status> {
    u64::try_from(number).map_err(|_| Status::invalid_argument(format!("{what} is {number}: it cannot be negative")))
}

/// A number for a field that has a sign.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A descriptor that a client brought.
pub(crate) fn from_descriptor(descriptor: api::Descriptor) -> Result<Descriptor, Status> {
    let mut known =
        Descriptor::new(descriptor.media_type, digest(&descriptor.digest)?, unsigned("size", descriptor.size)?);
    known.annotations = descriptor.annotations.into_iter().collect();
    Ok(known)
}

/// A descriptor for a client.
pub(crate) fn descriptor(descriptor: Descriptor) -> api::Descriptor {
    api::Descriptor {
        media_type: descriptor.media_type,
        digest: descriptor.digest.to_string(),
        size: signed(descriptor.size),
        annotations: descriptor.annotations.into_iter().collect(),
    }
}

/// A platform that a client named.
pub(crate) fn from_platform(platform: api::Platform) -> Platform {
    Platform {
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        os_version: platform.os_version,
        os_features: platform.os_features,
    }
}

/// A platform for a client.
pub(crate) fn platform(platform: Platform) -> api::Platform {
    api::Platform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant,
        os_version: platform.os_version,
        os_features: platform.os_features,
    }
}

/// Extensions as they are stored.
pub(crate) fn extensions(extensions: HashMap<String, prost_types::Any>) -> BTreeMap<String, Any> {
    extensions.into_iter().map(|(key, any)| (key, from_any(any))).collect()
}

/// Filters that a client wrote.
pub(crate) fn filters(filters: &[String]) -> Result<Filters, Status> {
    Filters::parse(filters).map_err(refuse)
}

/// One filter, where an empty text matches all.
pub(crate) fn filter(filter: &str) -> Result<Filters, Status> {
    if filter.is_empty() { Ok(Filters::all()) } else { Filters::parse(&[filter]).map_err(refuse) }
}
