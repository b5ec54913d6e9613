//! OCI layouts on disk, made by Debian's `umoci`.

use std::path::{Path, PathBuf};

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
        std::fs::remove_dir_all(&bundle)?;
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
