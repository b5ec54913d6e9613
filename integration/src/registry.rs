//! Debian's `docker-registry` on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::command::run;
use crate::layout::Layout;

/// A registry that real images are pushed to and pulled from. Dropping it stops it.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    address: String,
}

impl DockerRegistry {
    /// Starts a registry whose blobs are below `folder`.
    ///
    /// # Errors
    /// When it does not answer within 20 seconds.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(folder, "")
    }

    /// As [`DockerRegistry::start`], with more YAML at the end of its configuration, such as an `auth:` section.
    ///
    /// # Errors
    /// As [`DockerRegistry::start`].
    pub fn start_with(folder: &Path, more: &str) -> anyhow::Result<Self> {
        // The port is free now; whoever takes it in between makes the registry end, and this fail clearly.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let storage = folder.join(format!("registry-{}", address.rsplit(':').next().unwrap_or_default()));
        let config = storage.with_extension("yml");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  delete: {{ enabled: true }}\n\
             http:\n  addr: {address}\n{more}\n",
            storage.display()
        );
        fs::write(&config, text).context("write the registry's configuration")?;
        let log = fs::File::create(storage.with_extension("log"))?;
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut registry = Self { child: serve.spawn().context("start docker-registry")?, address };
        registry.wait_until_it_answers()?;
        Ok(registry)
    }

    fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("docker-registry ended at once: {status}");
            }
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("docker-registry does not listen on {}", self.address);
            }
            // It tells nobody when it listens.
            std::thread::yield_now();
        }
        Ok(())
    }

    /// The host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full reference of an image in it.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Pushes an image as `name:tag`.
    ///
    /// # Errors
    /// skopeo's own words.
    pub fn push(&self, image: &Layout, name: &str) -> anyhow::Result<()> {
        self.push_with(image, name, &[])
    }

    /// As [`DockerRegistry::push`], with more words for `skopeo copy`: `["--format", "v2s2"]`, `["--dest-compress-format", "zstd"]`.
    ///
    /// # Errors
    /// skopeo's own words.
    pub fn push_with(&self, image: &Layout, name: &str, words: &[&str]) -> anyhow::Result<()> {
        let destination = format!("docker://{}", self.reference(name));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--dest-tls-verify=false", "--quiet"]).args(words);
        run(skopeo.arg(image.skopeo()).arg(destination)).ok()?;
        Ok(())
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
