//! Promise: `kill -9` at any moment of a pull loses nothing that was fetched. Every restart succeeds, the next pull goes on from
//! what is there, and afterwards the stores hold what a pull that nobody killed leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use wharf_client::{Client, PullOptions};
use wharf_integration::rootfs::of_image;
use wharf_integration::tree::{Tree, differences};
use wharf_integration::{Scene, images, refusal};
use wharf_testkit::image::{Compression, Image, Layer};
use wharf_testkit::registry::{Registry, Throttle};

/// How often the daemon is killed.
const KILLS: usize = 50;
/// Layers, of so many megabytes each before compression.
const LAYERS: [usize; 6] = [6, 8, 4, 10, 8, 6];

fn image() -> Image {
    let mut builder = Image::builder().entrypoint(["/x"]);
    for (layer, megabytes) in LAYERS.into_iter().enumerate() {
        let files = (0..megabytes).map(|file| (format!("data/{layer}/{file}"), images::megabyte(layer * 100 + file)));
        // Directories that no layer lists would get the time of their extraction.
        let base = Layer::new().dir("data", 0o755).dir(&format!("data/{layer}"), 0o755);
        let layer = files
            .fold(base.file("both", 0o644, format!("{layer}")), |layer, (path, bytes)| layer.file(&path, 0o644, bytes));
        builder = builder.layer(layer, Compression::Gzip);
    }
    builder.build()
}

/// What a pull leaves: everything that the daemon holds, and the tree.
async fn left(scene: &Scene, client: &Client, reference: &str) -> anyhow::Result<(Vec<String>, Tree)> {
    let image = client.image(reference, "overlayfs").await?;
    let held = refusal::held(client).await?;
    Ok((held, of_image(client, &image, "overlayfs", scene.folder()).await?))
}

/// Removes the image, and with it all there is.
async fn forget(client: &Client, reference: &str) -> anyhow::Result<()> {
    let name = reference.to_owned();
    client
        .images()
        .delete(wharf_api::containerd::services::images::v1::DeleteImageRequest { name, sync: true, target: None })
        .await?;
    assert_eq!(refusal::held(client).await?, Vec::<String>::new(), "something is left of a removed image");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_times_and_nothing_is_lost_or_left() -> anyhow::Result<()> {
    let (image, registry) = (image(), Registry::start().await?);
    registry.put_image("killed", "latest", &image);
    registry.set_throttle(Throttle { bytes_per_second: Some(60_000_000), ..Throttle::default() });
    let reference = registry.reference("killed", "latest");
    let whole: u64 = image.layers.iter().map(|layer| layer.bytes.len() as u64).sum();
    let average_layer = whole / LAYERS.len() as u64;

    let mut scene = Scene::new()?;
    let client = scene.client().await?;
    let begun = Instant::now();
    client.pull(&reference, &PullOptions::default(), |_| {}).await?;
    let undisturbed = begun.elapsed();
    let (held, tree) = left(&scene, &client, &reference).await?;
    forget(&client, &reference).await?;

    let (mut again, mut interrupted) = (0, 0);
    for kill in 0..KILLS {
        let client = scene.client().await?;
        let before = served(&registry, &image);
        let moment = undisturbed.mul_f64(rand::rng().random_range(0.0..1.05));
        let cut = killed_after(&mut scene, client, &reference, moment).await;
        scene
            .daemon
            .start()
            .map_err(|error| error.context(format!("start after kill {kill}, {moment:?} into a pull")))?;
        let client = scene.client().await?;
        client.pull(&reference, &PullOptions::default(), |_| {}).await?;
        let fetched: u64 = served(&registry, &image).iter().map(|(digest, bytes)| bytes - before[digest]).sum();
        again += fetched.saturating_sub(whole);
        interrupted += usize::from(cut);
        let (held_now, tree_now) = left(&scene, &client, &reference).await?;
        assert_eq!(held_now, held, "after kill {kill}, {moment:?} into a pull");
        assert_eq!(differences(&tree_now, &tree), Vec::<String>::new(), "after kill {kill}, {moment:?} into a pull");
        forget(&client, &reference).await?;
    }
    assert!(interrupted >= KILLS / 2, "only {interrupted} of {KILLS} kills met a pull");
    let average = again / KILLS as u64;
    assert!(average < average_layer, "{average} bytes fetched again on average, a layer has {average_layer}");
    Ok(())
}

/// How many bytes of each layer were served so far.
fn served(registry: &Registry, image: &Image) -> BTreeMap<String, u64> {
    let served = |layer: &wharf_testkit::image::Blob| (layer.digest.to_string(), registry.served(&layer.digest));
    image.layers.iter().map(served).collect()
}

/// Kills the daemon so long after a pull began; true when the pull was cut.
async fn killed_after(scene: &mut Scene, client: Client, reference: &str, moment: Duration) -> bool {
    let reference = reference.to_owned();
    let pull = tokio::spawn(async move { client.pull(&reference, &PullOptions::default(), |_| {}).await.is_ok() });
    // The moment is the point here: nothing is waited for.
    tokio::time::sleep(moment).await;
    scene.daemon.crash();
    !pull.await.unwrap_or(false)
}
