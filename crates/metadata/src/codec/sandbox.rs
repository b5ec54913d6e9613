//! Sandboxes on disk.

use std::collections::BTreeMap;

use wharf_types::Labels;

use super::{Any, Time, time};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Sandbox {
    #[prost(btree_map = "string, string", tag = "1")]
    pub(crate) labels: Labels,
    #[prost(string, tag = "2")]
    runtime: String,
    #[prost(message, optional, tag = "3")]
    runtime_options: Option<Any>,
    #[prost(message, optional, tag = "4")]
    spec: Option<Any>,
    #[prost(string, tag = "5")]
    sandboxer: String,
    #[prost(btree_map = "string, message", tag = "6")]
    extensions: BTreeMap<String, Any>,
    #[prost(message, optional, tag = "7")]
    created: Option<Time>,
    #[prost(message, optional, tag = "8")]
    updated: Option<Time>,
}

impl From<crate::Sandbox> for Sandbox {
    fn from(from: crate::Sandbox) -> Self {
        Self {
            labels: from.labels,
            runtime: from.runtime.name,
            runtime_options: from.runtime.options.map(Into::into),
            spec: from.spec.map(Into::into),
            sandboxer: from.sandboxer,
            extensions: from.extensions.into_iter().map(|(key, value)| (key, value.into())).collect(),
            created: Some(from.created_at.into()),
            updated: Some(from.updated_at.into()),
        }
    }
}

impl Sandbox {
    pub(crate) fn read(self, id: &str) -> crate::Sandbox {
        crate::Sandbox {
            id: id.to_owned(),
            labels: self.labels,
            runtime: crate::Runtime { name: self.runtime, options: self.runtime_options.map(Into::into) },
            spec: self.spec.map(Into::into),
            sandboxer: self.sandboxer,
            extensions: self.extensions.into_iter().map(|(key, value)| (key, value.into())).collect(),
            created_at: time(self.created),
            updated_at: time(self.updated),
        }
    }
}
