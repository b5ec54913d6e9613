//! OCI layouts on disk, made by Debian's `umoci`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;
use wharf_types::Digest;

use crate::command::{run, sh};

/// An image in an OCI layout.
#[derive(Clone, Debug)]
pub struct Layout {
    folder: PathBuf,
    tag: String,
}

impl Layout {
    /// An image without layers in a fresh layout below `folder`.
    ///
    /// # Errors
    /// umoci's own words.
    pub fn new(folder: &Path, tag: &str) -> anyhow::Result<Self> {
        let layout = Self { folder: folder.join(format!("layout-{tag}")), tag: tag.to_owned() };
        umoci(&["init", "--layout", &layout.folder.display().to_string()])?;
        umoci(&["new", "--image", &layout.umoci()])?;
        Ok(layout)
    }

    /// Adds a layer: what `script` does to the root filesystem, in a shell whose working directory that is.
    ///
    /// # Errors
    /// The script's or umoci's own words.
    pub fn layer(&self, script: &str) -> anyhow::Result<()> {
        let bundle = self.folder.with_extension("bundle");
        umoci(&["unpack", "--image", &self.umoci(), &bundle.display().to_string()])?;
        sh(&format!("cd {}/rootfs\n{script}", bundle.display())).ok()?;
        umoci(&["repack", "--image", &self.umoci(), &bundle.display().to_string()])?;
        fs::remove_dir_all(&bundle)?;
        Ok(())
    }

    /// Adds a layer with the files below `source` at `target`.
    ///
    /// # Errors
    /// umoci's own words.
    pub fn insert(&self, source: &Path, target: &str) -> anyhow::Result<()> {
        umoci(&["insert", "--image", &self.umoci(), &source.display().to_string(), target])
    }

    /// Sets words of the configuration: `["--config.cmd", "sh"]`.
    ///
    /// # Errors
    /// umoci's own words.
    pub fn config(&self, words: &[&str]) -> anyhow::Result<()> {
        let image = self.umoci();
        umoci(&[&["config", "--image", &image], words].concat())
    }

    /// What umoci makes of it: the root filesystem, in a fresh folder.
    ///
    /// # Errors
    /// umoci's own words.
    pub fn unpack(&self, into: &Path) -> anyhow::Result<PathBuf> {
        umoci(&["unpack", "--image", &self.umoci(), &into.display().to_string()])?;
        Ok(into.join("rootfs"))
    }

    /// The same layout under another tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Self {
        Self { folder: self.folder.clone(), tag: tag.to_owned() }
    }

    /// A fresh layout with one index of all of `images`, each for the architecture beside it.
    ///
    /// # Errors
    /// When the layouts cannot be read, or are not what umoci makes.
    pub fn index(folder: &Path, tag: &str, images: &[(&Self, &str)]) -> anyhow::Result<Self> {
        let layout = Self { folder: folder.join(format!("layout-{tag}")), tag: tag.to_owned() };
        let blobs = layout.folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        fs::write(layout.folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let mut manifests = Vec::new();
        for (image, architecture) in images {
            for blob in fs::read_dir(image.folder.join("blobs/sha256"))? {
                let blob = blob?;
                fs::copy(blob.path(), blobs.join(blob.file_name()))?;
            }
            let mut manifest = image.descriptor()?;
            manifest["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
            manifests.push(manifest);
        }
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests }).to_string();
        let digest = Digest::of(index.as_bytes());
        fs::write(blobs.join(digest.hex()), &index)?;
        let named = serde_json::json!({ "mediaType": kind, "digest": digest.to_string(), "size": index.len(),
            "annotations": { "org.opencontainers.image.ref.name": tag } });
        let top = serde_json::json!({ "schemaVersion": 2, "manifests": [named] }).to_string();
        fs::write(layout.folder.join("index.json"), top)?;
        Ok(layout)
    }

    /// The descriptor of this tag's manifest, without its annotations.
    fn descriptor(&self) -> anyhow::Result<Value> {
        let index: Value = serde_json::from_slice(&fs::read(self.folder.join("index.json"))?)?;
        let manifests = index["manifests"].as_array().cloned().unwrap_or_default();
        let tag = |manifest: &Value| manifest["annotations"]["org.opencontainers.image.ref.name"] == self.tag.as_str();
        let found = manifests.into_iter().find(tag).with_context(|| format!("no tag {} in the layout", self.tag))?;
        Ok(serde_json::json!({ "mediaType": found["mediaType"], "digest": found["digest"], "size": found["size"] }))
    }

    /// The name that umoci knows it by.
    #[must_use]
    pub fn umoci(&self) -> String {
        format!("{}:{}", self.folder.display(), self.tag)
    }

    /// The name that skopeo knows it by.
    #[must_use]
    pub fn skopeo(&self) -> String {
        format!("oci:{}", self.umoci())
    }

    /// The layout's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn umoci(words: &[&str]) -> anyhow::Result<()> {
    run(std::process::Command::new("umoci").args(words)).ok()?;
    Ok(())
}
