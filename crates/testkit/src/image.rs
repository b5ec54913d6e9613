//! Images in memory: [`Layer`]s are put together entry by entry, [`Image::builder`] makes configuration and manifest of
//! them, and [`Index`] joins images of several platforms. A [`crate::registry::Registry`] serves them.
//!
//! Nothing is checked: what a hostile image needs (`..` in paths, wrong diff IDs, layers that are no tar) can be said.

pub mod layer;

use bytes::Bytes;
pub use layer::{Compression, Entry, EntryKind, Layer};
use serde_json::{Value, json};
use wharf_types::{Descriptor, Digest, Platform};

/// Media types (OCI image specification, "Media Types"; Docker image manifest version 2, schema 2).
pub mod media {
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// Docker's index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
}

/// Bytes with their media type and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What the bytes are.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

impl Blob {
    /// A blob with the SHA-256 of its bytes.
    #[must_use]
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { media_type: media_type.to_owned(), digest: Digest::of(&bytes), bytes }
    }

    /// What points at it.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }

    fn of_json(media_type: &str, value: &Value) -> Self {
        Self::new(media_type, value.to_string())
    }
}

/// An image of one platform.
///
/// ```
/// use wharf_testkit::image::{Compression, Image, Layer};
///
/// let bin = Layer::new().dir("bin", 0o755).file("bin/hello", 0o755, "#!/bin/sh\n");
/// let image = Image::builder().layer(bin, Compression::Zstd).entrypoint(["/bin/hello"]).user("1000:1000").build();
/// assert_eq!(image.layers.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest.
    pub manifest: Blob,
    /// The configuration.
    pub config: Blob,
    /// The layers, the lowest first.
    pub layers: Vec<Blob>,
    /// The digests of the uncompressed layers, as the configuration has them.
    pub diff_ids: Vec<String>,
    /// The platform that the configuration names.
    pub platform: Platform,
}

impl Image {
    /// Begins an image for linux on this machine's processor, without layers, of OCI's types.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            layers: Vec::new(),
            diff_ids: Vec::new(),
            config: serde_json::Map::new(),
            platform: host_platform(),
            docker: false,
        }
    }

    /// An image that holds one static program and nothing else: `binary` at `path` (such as `/hello`), which is also the
    /// entrypoint.
    #[must_use]
    pub fn of_binary(binary: impl Into<Vec<u8>>, path: &str) -> Self {
        let layer = Layer::new().file(path.trim_start_matches('/'), 0o755, binary);
        Self::builder().layer(layer, Compression::Gzip).entrypoint([path]).build()
    }
}

/// The platform of the running program, in Go's words.
#[must_use]
pub fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    platform(architecture)
}

/// Linux on a processor in Go's words (`arm64`).
#[must_use]
pub fn platform(architecture: &str) -> Platform {
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), ..Platform::default() }
}

/// An image in the making.
#[derive(Clone, Debug)]
pub struct Builder {
    layers: Vec<(Blob, Option<&'static str>)>,
    diff_ids: Vec<String>,
    config: serde_json::Map<String, Value>,
    platform: Platform,
    docker: bool,
}

impl Builder {
    /// Adds a layer on top.
    #[must_use]
    pub fn layer(mut self, layer: Layer, compression: Compression) -> Self {
        let tar = layer.into_tar();
        self.diff_ids.push(Digest::of(&tar).to_string());
        self.layers.push((Blob::new("", compression.compress(tar)), Some(compression.suffix())));
        self
    }

    /// Adds any bytes as a layer, with the diff ID that the configuration is to name for it, if it is to name one.
    #[must_use]
    pub fn raw_layer(mut self, blob: Blob, diff_id: Option<&str>) -> Self {
        self.diff_ids.extend(diff_id.map(str::to_owned));
        self.layers.push((blob, None));
        self
    }

    /// Replaces the diff IDs that the configuration lists. Call it after the layers.
    #[must_use]
    pub fn diff_ids(mut self, diff_ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.diff_ids = diff_ids.into_iter().map(Into::into).collect();
        self
    }

    /// The program to start.
    #[must_use]
    pub fn entrypoint<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words.into_iter().collect();
        self.config("Entrypoint", json!(words))
    }

    /// Its arguments.
    #[must_use]
    pub fn command<'a>(self, words: impl IntoIterator<Item = &'a str>) -> Self {
        let words: Vec<&str> = words.into_iter().collect();
        self.config("Cmd", json!(words))
    }

    /// Its environment, `NAME=value` each.
    #[must_use]
    pub fn env<'a>(self, variables: impl IntoIterator<Item = &'a str>) -> Self {
        let variables: Vec<&str> = variables.into_iter().collect();
        self.config("Env", json!(variables))
    }

    /// The user, such as `1000:1000` or a name.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.config("User", json!(user))
    }

    /// Where the program starts.
    #[must_use]
    pub fn working_dir(self, path: &str) -> Self {
        self.config("WorkingDir", json!(path))
    }

    /// Any other field of the configuration's `config` object.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Self {
        self.config.insert(field.to_owned(), value);
        self
    }

    /// The platform.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Docker's media types (schema 2) instead of OCI's.
    #[must_use]
    pub fn docker(mut self) -> Self {
        self.docker = true;
        self
    }

    /// Makes configuration and manifest.
    #[must_use]
    pub fn build(self) -> Image {
        let (manifest_type, config_type, layer_type) = if self.docker {
            (media::DOCKER_MANIFEST, media::DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar")
        } else {
            (media::OCI_MANIFEST, media::OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar")
        };
        let mut config = json!({
            "created": "2026-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        merge(&mut config, serde_json::to_value(&self.platform).unwrap_or_default());
        let config = Blob::of_json(config_type, &config);
        let separator = if self.docker { "." } else { "+" };
        let typed = |(blob, suffix): (Blob, Option<&str>)| match suffix {
            None => blob,
            Some("") => Blob { media_type: layer_type.to_owned(), ..blob },
            Some(suffix) => Blob { media_type: format!("{layer_type}{separator}{suffix}"), ..blob },
        };
        let layers: Vec<Blob> = self.layers.into_iter().map(typed).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::of_json(manifest_type, &manifest);
        Image { manifest, config, layers, diff_ids: self.diff_ids, platform: self.platform }
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Images of several platforms under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The index itself.
    pub blob: Blob,
    /// What it lists.
    pub images: Vec<Image>,
}

impl Index {
    /// An index of OCI's type; each image is listed under its own platform.
    #[must_use]
    pub fn new(images: Vec<Image>) -> Self {
        Self::of_type(media::OCI_INDEX, images)
    }

    /// An index of Docker's type.
    #[must_use]
    pub fn docker(images: Vec<Image>) -> Self {
        Self::of_type(media::DOCKER_INDEX, images)
    }

    fn of_type(media_type: &str, images: Vec<Image>) -> Self {
        let listed = images
            .iter()
            .map(|image| Descriptor { platform: Some(image.platform.clone()), ..image.manifest.descriptor() });
        let manifests: Vec<Descriptor> = listed.collect();
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        Self { blob: Blob::of_json(media_type, &index), images }
    }
}
