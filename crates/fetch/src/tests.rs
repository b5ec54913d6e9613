//! Against registries that behave and registries that do not.

mod authentication;
mod blobs;
mod manifests;
mod pushing;
mod redirects;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use wharf_testkit::image::{Blob, Image};
use wharf_testkit::registry::Registry;
use wharf_types::{ErrorKind, Kind as _};

use super::*;

const REPOSITORY: &str = "some/image";

/// Waits little, tries seldom.
fn quick() -> Config {
    let millis = Duration::from_millis;
    let timeouts = Timeouts {
        connect: millis(2000),
        headers: millis(400),
        document: millis(400),
        stall: millis(200),
        stall_bytes: 1024,
        commit: millis(2000),
    };
    let retries = Retries { attempts: 3, cuts: 3, progress: 1000, pause: millis(1), max_pause: millis(20) };
    Config { timeouts, retries, ..Config::default() }
}

/// A configuration with a password for a registry.
fn with_password(registry: &Registry, user: &str, password: &str) -> Config {
    let credentials = Credentials::Password(user.to_owned(), Secret::new(password));
    Config { credentials: Arc::new(HashMap::from([(registry.host(), credentials)])), ..quick() }
}

/// A registry with an image whose configuration is what it serves as a blob, and a blob of 100,000 bytes.
struct Setup {
    registry: Registry,
    image: Image,
    target: Descriptor,
    blob: Blob,
}

async fn setup() -> Setup {
    let registry = Registry::start().await.unwrap();
    let image = Image::of_binary("\x7fELF", "/hello");
    let target = registry.put_image(REPOSITORY, "latest", &image);
    let bytes: Vec<u8> = (0u32..25_000).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let blob = Blob::new("application/vnd.oci.image.layer.v1.tar", bytes);
    registry.put_blob(REPOSITORY, &blob);
    Setup { registry, image, target, blob }
}

impl Setup {
    fn reference(&self) -> Reference {
        self.registry.reference(REPOSITORY, "latest").parse().unwrap()
    }

    async fn resolve(&self, config: Config) -> Result<Descriptor> {
        RegistryResolver::new(config).unwrap().resolve(&self.reference()).await
    }

    async fn fetch(&self, config: Config, target: &Descriptor, offset: u64) -> Result<Vec<u8>> {
        read(&RegistryResolver::new(config).unwrap(), &self.reference(), target, offset).await
    }
}

async fn read(resolver: &RegistryResolver, reference: &Reference, target: &Descriptor, offset: u64) -> Result<Vec<u8>> {
    let mut stream = resolver.fetcher(reference)?.fetch(target, offset).await?;
    let mut all = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

/// The kind of a failure, after checking that it names the registry.
#[track_caller]
fn kind_of<T: std::fmt::Debug>(setup: &Setup, result: Result<T>) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(&setup.registry.host()), "{error}");
    error.kind()
}
