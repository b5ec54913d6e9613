//! Activations on disk.

use wharf_types::Labels;

use super::{Time, time};
use crate::ActiveMount;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Activation {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    /// Empty without one.
    #[prost(string, tag = "2")]
    pub(crate) lease: String,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(message, repeated, tag = "4")]
    active: Vec<Active>,
    #[prost(message, repeated, tag = "5")]
    system: Vec<Mount>,
    #[prost(message, optional, tag = "6")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Active {
    #[prost(message, optional, tag = "1")]
    mount: Option<Mount>,
    #[prost(string, tag = "2")]
    point: String,
    #[prost(message, optional, tag = "3")]
    mounted: Option<Time>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Mount {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    source: String,
    #[prost(string, tag = "3")]
    target: String,
    #[prost(string, repeated, tag = "4")]
    options: Vec<String>,
}

impl From<crate::Activation> for Activation {
    fn from(from: crate::Activation) -> Self {
        let active = |from: ActiveMount| Active {
            mount: Some(from.mount.into()),
            point: from.point,
            mounted: Some(from.mounted_at.into()),
        };
        Self {
            labels: from.labels,
            lease: from.lease.unwrap_or_default(),
            number: from.number,
            active: from.active.into_iter().map(active).collect(),
            system: from.system.into_iter().map(Into::into).collect(),
            created: Some(from.created_at.into()),
        }
    }
}

impl Activation {
    pub(crate) fn read(self, name: &str) -> crate::Activation {
        let active = |from: Active| ActiveMount {
            mount: from.mount.unwrap_or_default().into(),
            point: from.point,
            mounted_at: time(from.mounted),
        };
        crate::Activation {
            name: name.to_owned(),
            labels: self.labels,
            lease: Some(self.lease).filter(|lease| !lease.is_empty()),
            number: self.number,
            active: self.active.into_iter().map(active).collect(),
            system: self.system.into_iter().map(Into::into).collect(),
            created_at: time(self.created),
        }
    }
}

impl From<wharf_types::Mount> for Mount {
    fn from(from: wharf_types::Mount) -> Self {
        Self { kind: from.kind, source: from.source, target: from.target, options: from.options }
    }
}

impl From<Mount> for wharf_types::Mount {
    fn from(from: Mount) -> Self {
        Self { kind: from.kind, source: from.source, target: from.target, options: from.options }
    }
}
