//! Images that the server has.

use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use wharf_api::containerd::services::content::v1::ReadContentRequest;
use wharf_api::containerd::services::images::v1::GetImageRequest;
use wharf_types::{Descriptor, Digest, Platform};

use crate::{Client, Error, Result};

/// The most bytes of an index, manifest or configuration.
const MAX_DOCUMENT: usize = 8 << 20;
/// How deep indexes may be nested.
const MAX_DEPTH: usize = 4;

/// An image that the server has a name for.
#[derive(Clone, Debug)]
pub struct Image {
    pub(crate) client: Client,
    pub(crate) name: String,
    pub(crate) target: Descriptor,
    pub(crate) snapshotter: String,
}

/// The part of indexes and manifests that is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

impl Image {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index or manifest that it stands for.
    #[must_use]
    pub fn target(&self) -> &Descriptor {
        &self.target
    }

    /// The configuration for this machine's platform.
    ///
    /// # Errors
    /// [`Error::Image`] when the image is not for this platform or is damaged.
    pub async fn config(&self) -> Result<ImageConfiguration> {
        let config = self.manifest().await?.config.ok_or_else(|| self.refuse("its manifest names no configuration"))?;
        let bytes = self.client.read_blob(&config.digest, MAX_DOCUMENT).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.refuse(&format!("its configuration: {error}")))
    }

    /// The layers for this machine's platform.
    ///
    /// # Errors
    /// As [`Image::config`].
    pub async fn layers(&self) -> Result<Vec<Descriptor>> {
        Ok(self.manifest().await?.layers)
    }

    /// The name of the snapshot that the image's layers make: its chain ID (OCI image specification, "Layer ChainID").
    ///
    /// # Errors
    /// As [`Image::config`].
    pub async fn chain_id(&self) -> Result<Option<Digest>> {
        let config = self.config().await?;
        let parsed: std::result::Result<Vec<Digest>, _> =
            config.rootfs().diff_ids().iter().map(|text| text.parse()).collect();
        let diff_ids = parsed.map_err(|error| self.refuse(&error.to_string()))?;
        Ok(wharf_types::chain::chain_ids(&diff_ids).pop())
    }

    async fn manifest(&self) -> Result<Document> {
        let mut target = self.target.clone();
        for _ in 0..MAX_DEPTH {
            let bytes = self.client.read_blob(&target.digest, MAX_DOCUMENT).await?;
            let document: Document = serde_json::from_slice(&bytes)
                .map_err(|error| self.refuse(&format!("{} is no index and no manifest: {error}", target.digest)))?;
            if document.manifests.is_empty() {
                return Ok(document);
            }
            target = self.choose(&document.manifests)?;
        }
        Err(self.refuse("its indexes are nested too deep"))
    }

    /// The manifest for this machine, of those that the server has.
    fn choose(&self, offered: &[Descriptor]) -> Result<Descriptor> {
        let host = [Platform::host()];
        let best = wharf_types::platform::best(&host, offered, |descriptor| descriptor.platform.as_ref());
        best.cloned().ok_or_else(|| self.refuse(&format!("it is not made for {}", Platform::host())))
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Image { image: self.name.clone(), reason: reason.to_owned() }
    }
}

impl Client {
    /// An image that the server has. Its root filesystems are looked for in `snapshotter`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn image(&self, name: &str, snapshotter: &str) -> Result<Image> {
        let doing = format!("look for image {name}");
        let request = GetImageRequest { name: name.to_owned() };
        let answer = self.images().get(request).await.map_err(Error::during(doing.clone()))?.into_inner();
        let target = answer.image.and_then(|image| image.target).ok_or(Error::Answer { doing, missing: "target" })?;
        let refuse = |reason: String| Error::Image { image: name.to_owned(), reason };
        let digest =
            target.digest.parse().map_err(|error: wharf_types::digest::ParseError| refuse(error.to_string()))?;
        let size = u64::try_from(target.size).map_err(|_| refuse(format!("its size is {}", target.size)))?;
        let target = Descriptor::new(target.media_type, digest, size);
        Ok(Image { client: self.clone(), name: name.to_owned(), target, snapshotter: snapshotter.to_owned() })
    }

    /// A whole blob of at most `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Answer`] when it is larger.
    pub async fn read_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
        let doing = format!("read content {digest}");
        let request = ReadContentRequest { digest: digest.to_string(), offset: 0, size: 0 };
        let answer = self.content().read(request).await.map_err(Error::during(doing.clone()))?;
        let (mut chunks, mut bytes) = (answer.into_inner(), Vec::new());
        while let Some(chunk) = chunks.message().await.map_err(Error::during(doing.clone()))? {
            bytes.extend_from_slice(&chunk.data);
            if bytes.len() > limit {
                return Err(Error::Answer { doing, missing: "end within the bytes that were asked for" });
            }
        }
        Ok(bytes)
    }
}
