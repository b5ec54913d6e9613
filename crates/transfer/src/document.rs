//! Indexes, manifests and configurations as far as a pull has to understand them (OCI image specification; Docker image
//! manifest version 2, schema 2).

use serde::Deserialize;
use serde::de::IgnoredAny;
use wharf_types::{Descriptor, Digest, Platform};

use crate::{Error, Result};

/// The most bytes that one of these documents may have.
pub(crate) const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// The most descriptors that one of these documents may have: each becomes a label.
const MAX_CHILDREN: usize = 4096;

/// What a media type says that a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Index,
    Manifest,
    Config,
    Layer,
    Unknown,
}

impl Shape {
    pub(crate) fn of(media_type: &str) -> Self {
        match media_type {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                Self::Index
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                Self::Manifest
            }
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
                Self::Config
            }
            other if other.starts_with("application/vnd.oci.image.layer.") => Self::Layer,
            other if other.starts_with("application/vnd.docker.image.rootfs.") => Self::Layer,
            _ => Self::Unknown,
        }
    }

    /// The word that errors and ingest references use (containerd: `core/remotes`, `MakeRefKey`).
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Manifest => "manifest",
            Self::Config => "config",
            Self::Layer => "layer",
            Self::Unknown => "unknown",
        }
    }
}

/// An index or a manifest.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Box<Manifest>),
}

/// A manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What a pull needs of an image's configuration.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub(crate) platform: PartialPlatform,
    pub(crate) rootfs: RootFs,
}

/// A platform whose parts may be missing.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct PartialPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

impl PartialPlatform {
    /// The platform, if the configuration names one.
    pub(crate) fn whole(&self) -> Option<Platform> {
        let named = !self.architecture.is_empty() && !self.os.is_empty();
        named.then(|| Platform::new(&self.os, &self.architecture, &self.variant))
    }
}

/// The layers of an image after inflation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default, deserialize_with = "listed")]
    pub(crate) diff_ids: Vec<Digest>,
}

/// A list that is `null` where it is empty, as programs in Go write one that was never filled.
fn listed<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Digest>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Raw {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<IgnoredAny>,
}

/// Reads an index or a manifest. One that could be both is neither (CVE-2021-41190).
pub(crate) fn parse(target: &Descriptor, bytes: &[u8]) -> Result<Document> {
    let shape = Shape::of(&target.media_type);
    let refuse = |reason: String| Error::Document { what: shape.word(), digest: target.digest.clone(), reason };
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
    let count = raw.manifests.iter().chain(&raw.layers).map(Vec::len).max().unwrap_or_default();
    if count > MAX_CHILDREN {
        return Err(refuse(format!("it lists {count} blobs, at most {MAX_CHILDREN} are taken")));
    }
    match (shape, raw) {
        (Shape::Index, Raw { manifests: Some(manifests), config: None, layers: None, fs_layers: None }) => {
            Ok(Document::Index(manifests))
        }
        (Shape::Manifest, Raw { manifests: None, config: Some(config), layers, fs_layers: None }) => {
            Ok(Document::Manifest(Box::new(Manifest { config, layers: layers.unwrap_or_default() })))
        }
        (shape, _) => {
            let wanted = if shape == Shape::Index {
                "manifests and neither config nor layers"
            } else {
                "config and no manifests"
            };
            Err(refuse(format!("it has not what its media type {} asks for: {wanted}", target.media_type)))
        }
    }
}

/// Reads an image's configuration.
pub(crate) fn parse_config(target: &Descriptor, bytes: &[u8]) -> Result<Config> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (what, digest) = (Shape::Config.word(), target.digest.clone());
        Error::Document { what, digest, reason: error.to_string() }
    })
}

/// The chain IDs of all prefixes of a list of diff IDs (OCI image specification, "Layer ChainID").
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
            None => diff_id.clone(),
        };
        chain.push(next);
    }
    chain
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_never_filled_is_empty() {
        let target = Descriptor::new("application/vnd.oci.image.config.v1+json", Digest::of(b""), 0);
        for rootfs in [r#"{"type":"layers","diff_ids":null}"#, r#"{"type":"layers"}"#, r#"{"diff_ids":[]}"#] {
            let text = format!(r#"{{"architecture":"amd64","os":"linux","rootfs":{rootfs}}}"#);
            assert!(parse_config(&target, text.as_bytes()).unwrap().rootfs.diff_ids.is_empty(), "{rootfs}");
        }
        let wrong = r#"{"rootfs":{"diff_ids":"sha256:x"}}"#;
        assert!(parse_config(&target, wrong.as_bytes()).is_err());
    }
}
