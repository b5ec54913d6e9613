//! Promise: whatever a registry does, the error names it, nothing is left behind, and the daemon is well.

use serde_json::json;
use wharf_client::{Client, PullOptions};
use wharf_integration::{Scene, refusal};
use wharf_testkit::image::{Blob, Compression, Image, Index, Layer, platform};
use wharf_testkit::registry::{Auth, Fault, On, Registry};

/// A daemon, a registry that will misbehave, and an image in it.
struct Bad {
    scene: Scene,
    client: Client,
    registry: Registry,
    image: Image,
}

impl Bad {
    async fn new() -> anyhow::Result<Self> {
        let scene = Scene::new()?;
        let client = scene.client().await?;
        let registry = Registry::start().await?;
        let noise = wharf_integration::images::megabyte(1);
        let layer = Layer::new().dir("bin", 0o755).file("bin/hello", 0o755, noise);
        let image = Image::builder().layer(layer, Compression::Gzip).entrypoint(["/bin/hello"]).build();
        registry.put_image("bad", "latest", &image);
        Ok(Self { scene, client, registry, image })
    }

    fn reference(&self) -> String {
        self.registry.reference("bad", "latest")
    }

    /// The pull is refused, with an error that names all of `names`.
    async fn refused(&self, names: &[&str]) -> anyhow::Result<String> {
        self.refused_as(&self.reference(), &PullOptions::default(), names).await
    }

    async fn refused_as(&self, reference: &str, options: &PullOptions, names: &[&str]) -> anyhow::Result<String> {
        let said = refusal::pull(&self.client, reference, options, names).await;
        refusal::nothing_left(&self.scene, &self.client, &[]).await?;
        Ok(said)
    }

    /// Once the registry behaves, the same pull succeeds.
    async fn mended(&self) -> anyhow::Result<()> {
        self.registry.clear_faults();
        self.client.pull(&self.reference(), &PullOptions::default(), |_| {}).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let reference = "no-such-host.invalid/bad:latest";
    bad.refused_as(reference, &PullOptions::default(), &["no-such-host.invalid"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let reference = format!("{free}/bad:latest");
    bad.refused_as(&reference, &PullOptions::default(), &[&free.to_string(), "refused"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() -> anyhow::Result<()> {
    for auth in [Auth::basic("ada", "right"), Auth::bearer("ada", "right")] {
        let bad = Bad::new().await?;
        bad.registry.set_auth(auth);
        let wrong = Some(("ada".to_owned(), "wrong-secret".to_owned()));
        let options = PullOptions { credentials: wrong, ..PullOptions::default() };
        let said = bad.refused_as(&bad.reference(), &options, &[&bad.registry.host(), "password"]).await?;
        assert!(
            !said.contains("wrong-secret") && !bad.scene.daemon.log().contains("wrong-secret"),
            "a secret was told"
        );
        let right = Some(("ada".to_owned(), "right".to_owned()));
        let options = PullOptions { credentials: right, ..PullOptions::default() };
        bad.client.pull(&bad.reference(), &options, |_| {}).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let reference = bad.registry.reference("bad", "other");
    bad.refused_as(&reference, &PullOptions::default(), &[&bad.registry.host(), "bad", "404"]).await?;
    bad.mended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_another_digest() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let layer = bad.image.layers[0].digest.clone();
    bad.registry.set_fault(&layer, Fault::WrongBytes);
    bad.refused(&[&layer.to_string(), "digest"]).await?;
    bad.mended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_blob() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let layer = bad.image.layers[0].digest.clone();
    bad.registry.set_fault(&layer, Fault::Truncated(100));
    bad.refused(&[&layer.to_string()]).await?;
    bad.mended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_a_wrong_length() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let layer = bad.image.layers[0].digest.clone();
    bad.registry.set_fault(&layer, Fault::TooLong(100));
    bad.refused(&[&layer.to_string()]).await?;
    bad.mended().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_json() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let page = Blob::new("application/vnd.oci.image.manifest.v1+json", "<html>sorry</html>");
    bad.registry.tag("bad", "latest", &page);
    bad.refused(&[&page.digest.to_string()]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_ten_megabytes() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let filler = "x".repeat(10 << 20);
    let large =
        json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "filler": filler });
    let large = Blob::new("application/vnd.oci.image.manifest.v1+json", large.to_string());
    bad.registry.tag("bad", "latest", &large);
    bad.refused(&[&bad.registry.host(), "8388608"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_our_platform() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let other = Image::builder().platform(platform("s390x")).entrypoint(["/x"]).build();
    bad.registry.put_index("bad", "latest", &Index::new(vec![other]));
    bad.refused(&["s390x", "linux/"]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_fails() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    bad.registry.set_fault(On::All, Fault::Status(500));
    bad.refused(&[&bad.registry.host(), "500"]).await?;
    bad.mended().await
}
