//! Records on disk: protobuf messages, so that a field can be added without touching what was written before.
//!
//! Field numbers are the format: none is ever given another meaning. Names and keys stand in the row's key and not here.

mod activation;
mod sandbox;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub(crate) use activation::Activation;
pub(crate) use sandbox::Sandbox;
use wharf_types::{Labels, Platform};

/// A moment, to the nanosecond.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Time {
    /// Whole seconds since 1970, rounded down.
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(uint32, tag = "2")]
    pub(crate) nanos: u32,
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let whole = |since: Duration| i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self { seconds: whole(since), nanos: since.subsec_nanos() },
            Err(before) => {
                let before = before.duration();
                match before.subsec_nanos() {
                    0 => Self { seconds: -whole(before), nanos: 0 },
                    nanos => Self { seconds: -whole(before) - 1, nanos: 1_000_000_000 - nanos },
                }
            }
        }
    }
}

/// A moment that no clock can show becomes 1970.
pub(crate) fn time(time: Option<Time>) -> SystemTime {
    let Time { seconds, nanos } = time.unwrap_or_default();
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = SystemTime::UNIX_EPOCH;
    let moment = if seconds < 0 { base.checked_sub(whole) } else { base.checked_add(whole) };
    moment.and_then(|moment| moment.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(base)
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Namespace {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Descriptor {
    #[prost(string, tag = "1")]
    media_type: String,
    #[prost(string, tag = "2")]
    pub(crate) digest: String,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(btree_map = "string, string", tag = "4")]
    annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "5")]
    platform: Option<StoredPlatform>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPlatform {
    #[prost(string, tag = "1")]
    architecture: String,
    #[prost(string, tag = "2")]
    os: String,
    #[prost(string, tag = "3")]
    variant: String,
    #[prost(string, tag = "4")]
    os_version: String,
    #[prost(string, repeated, tag = "5")]
    os_features: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Image {
    #[prost(message, optional, tag = "1")]
    pub(crate) target: Option<Descriptor>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) labels: Labels,
    #[prost(message, optional, tag = "3")]
    created: Option<Time>,
    #[prost(message, optional, tag = "4")]
    updated: Option<Time>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Container {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    #[prost(string, tag = "2")]
    image: String,
    #[prost(string, tag = "3")]
    runtime: String,
    #[prost(message, optional, tag = "4")]
    runtime_options: Option<Any>,
    #[prost(message, optional, tag = "5")]
    spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(crate) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(crate) snapshot_key: String,
    #[prost(btree_map = "string, message", tag = "8")]
    extensions: BTreeMap<String, Any>,
    #[prost(string, tag = "9")]
    sandbox: String,
    #[prost(message, optional, tag = "10")]
    created: Option<Time>,
    #[prost(message, optional, tag = "11")]
    updated: Option<Time>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Lease {
    #[prost(message, optional, tag = "1")]
    pub(crate) created: Option<Time>,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(crate) labels: Labels,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Blob {
    #[prost(uint64, tag = "1")]
    pub(crate) size: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "3")]
    pub(crate) updated: Option<Time>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) labels: Labels,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ingest {
    /// The reference in the store behind.
    #[prost(string, tag = "1")]
    pub(crate) backend: String,
    /// When it may be given up; nothing while a lease holds it.
    #[prost(message, optional, tag = "2")]
    pub(crate) expires: Option<Time>,
    /// The digest where it is known.
    #[prost(string, tag = "3")]
    pub(crate) expected: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Snapshot {
    /// The name in the snapshotter behind.
    #[prost(string, tag = "1")]
    pub(crate) backend: String,
    /// 1 view, 2 active, 3 committed.
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    /// Empty without one.
    #[prost(string, tag = "3")]
    pub(crate) parent: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) created: Option<Time>,
    #[prost(message, optional, tag = "5")]
    pub(crate) updated: Option<Time>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) labels: Labels,
}

impl From<wharf_types::Descriptor> for Descriptor {
    fn from(from: wharf_types::Descriptor) -> Self {
        let platform = from.platform.map(|from| StoredPlatform {
            architecture: from.architecture,
            os: from.os,
            variant: from.variant,
            os_version: from.os_version,
            os_features: from.os_features,
        });
        Self {
            media_type: from.media_type,
            digest: from.digest.to_string(),
            size: from.size,
            annotations: from.annotations,
            platform,
        }
    }
}

impl Descriptor {
    /// Nothing when the digest is none.
    fn read(self) -> Option<wharf_types::Descriptor> {
        let platform = self.platform.map(|from| Platform {
            architecture: from.architecture,
            os: from.os,
            variant: from.variant,
            os_version: from.os_version,
            os_features: from.os_features,
        });
        Some(wharf_types::Descriptor {
            media_type: self.media_type,
            digest: self.digest.parse().ok()?,
            size: self.size,
            annotations: self.annotations,
            platform,
        })
    }
}

impl From<crate::Image> for Image {
    fn from(from: crate::Image) -> Self {
        Self {
            target: Some(from.target.into()),
            labels: from.labels,
            created: Some(from.created_at.into()),
            updated: Some(from.updated_at.into()),
        }
    }
}

impl Image {
    /// Nothing when the target is none.
    pub(crate) fn read(self, name: &str) -> Option<crate::Image> {
        Some(crate::Image {
            name: name.to_owned(),
            target: self.target?.read()?,
            labels: self.labels,
            created_at: time(self.created),
            updated_at: time(self.updated),
        })
    }
}

impl From<wharf_types::Any> for Any {
    fn from(from: wharf_types::Any) -> Self {
        Self { type_url: from.type_url, value: from.value }
    }
}

impl From<Any> for wharf_types::Any {
    fn from(from: Any) -> Self {
        Self { type_url: from.type_url, value: from.value }
    }
}

impl From<crate::Container> for Container {
    fn from(from: crate::Container) -> Self {
        Self {
            labels: from.labels,
            image: from.image,
            runtime: from.runtime.name,
            runtime_options: from.runtime.options.map(Into::into),
            spec: from.spec.map(Into::into),
            snapshotter: from.snapshotter,
            snapshot_key: from.snapshot_key,
            extensions: from.extensions.into_iter().map(|(key, value)| (key, value.into())).collect(),
            sandbox: from.sandbox,
            created: Some(from.created_at.into()),
            updated: Some(from.updated_at.into()),
        }
    }
}

impl Container {
    pub(crate) fn read(self, id: &str) -> crate::Container {
        crate::Container {
            id: id.to_owned(),
            labels: self.labels,
            image: self.image,
            runtime: crate::Runtime { name: self.runtime, options: self.runtime_options.map(Into::into) },
            spec: self.spec.map(Into::into),
            snapshotter: self.snapshotter,
            snapshot_key: self.snapshot_key,
            extensions: self.extensions.into_iter().map(|(key, value)| (key, value.into())).collect(),
            sandbox: self.sandbox,
            created_at: time(self.created),
            updated_at: time(self.updated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_kept_to_the_nanosecond() {
        let base = SystemTime::UNIX_EPOCH;
        let odd = Duration::new(1_700_000_000, 123_456_789);
        for moment in [base, base + odd, base - odd, base - Duration::from_secs(7), base + Duration::from_nanos(1)] {
            assert_eq!(time(Some(moment.into())), moment);
        }
        assert_eq!(time(Some(Time { seconds: i64::MAX, nanos: u32::MAX })), base);
    }
}
