use serde_json::json;
use wharf_testkit::image::{Blob, Index, media, platform};
use wharf_types::Descriptor;

use super::*;

fn for_platform(architecture: &str) -> Image {
    let layer = Layer::new().file("for", 0o644, architecture.as_bytes());
    Image::builder().layer(layer, Compression::Gzip).platform(platform(architecture)).build()
}

fn index_of(manifests: &[Descriptor]) -> Blob {
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests});
    Blob::new(media::OCI_INDEX, index.to_string())
}

#[tokio::test]
async fn of_an_index_the_image_for_this_machine_is_pulled() {
    let here = host_platform().architecture;
    for index in [Index::new, Index::docker] {
        let setup = setup().await;
        let index = index(vec![for_platform("s390x"), for_platform(&here)]);
        let target = setup.registry.put_index(REPOSITORY, "latest", &index);
        let pulled = setup.pull().await.unwrap();
        assert_eq!(pulled.target, target);
        assert_eq!(setup.tree(&pulled.chain_id.unwrap())["for"].2, here.as_bytes());
        assert!(setup.content.info(&index.images[0].manifest.digest).is_err(), "the other one is not fetched");
        let labels = setup.labels(&target.digest);
        assert_eq!(labels["containerd.io/gc.ref.content.m.1"], index.images[1].manifest.digest.to_string());
    }
}

#[tokio::test]
async fn all_platforms_are_fetched_and_one_unpacked() {
    let here = host_platform().architecture;
    let setup = setup().await;
    let index = Index::new(vec![for_platform("s390x"), for_platform(&here)]);
    setup.registry.put_index(REPOSITORY, "latest", &index);
    let pulled = setup.pull_with(&Options { all_platforms: true, ..options() }).await.unwrap();
    assert_eq!(setup.tree(&pulled.chain_id.unwrap())["for"].2, here.as_bytes());
    for image in &index.images {
        assert!(setup.content.info(&image.layers[0].digest).is_ok());
    }
}

#[tokio::test]
async fn an_index_without_this_platform_says_what_it_has() {
    let setup = setup().await;
    setup.registry.put_index(REPOSITORY, "latest", &Index::new(vec![for_platform("s390x"), for_platform("mips")]));
    let error = setup.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("linux/s390x") && text.contains("linux/mips") && text.contains(REPOSITORY), "{text}");
    setup.registry.put_image(REPOSITORY, "latest", &for_platform("s390x"));
    let text = setup.pull().await.unwrap_err().to_string();
    assert!(text.contains("linux/s390x"), "{text}");
    setup.no_snapshots();
}

#[tokio::test]
async fn an_index_in_an_index_and_one_that_is_too_deep() {
    let setup = setup().await;
    let image = image();
    let mut inner = setup.registry.put_image(REPOSITORY, "image", &image);
    for depth in 1..=6 {
        inner = setup.registry.tag(REPOSITORY, "latest", &index_of(&[inner]));
        let pulled = setup.pull().await;
        assert_eq!(pulled.is_ok(), depth <= 4, "{depth}: {pulled:?}");
    }
}

#[tokio::test]
async fn a_graph_that_grows_is_fetched_once_a_document() {
    let setup = setup().await;
    let mut level = vec![setup.registry.put_image(REPOSITORY, "image", &image()); 2];
    for _ in 0..30 {
        let index = index_of(&level);
        level = vec![setup.registry.tag(REPOSITORY, "latest", &index); 2];
    }
    let error = setup.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(setup.registry.requests().len() <= 31);
}

#[tokio::test]
async fn documents_that_are_none_are_refused_and_nothing_is_kept() {
    let digest = Digest::of(b"x").to_string();
    let descriptor = |size: i64, digest: &str| json!({"mediaType": media::OCI_CONFIG, "size": size, "digest": digest});
    let good = descriptor(1, &digest);
    let documents = [
        ("[]", "manifest"),
        ("not JSON", "JSON"),
        ("{}", "config"),
        (&json!({"config": good, "layers": [], "manifests": []}).to_string(), "both"),
        (&json!({"config": descriptor(-1, &digest), "layers": []}).to_string(), "-1"),
        (&json!({"config": descriptor(1, "sha256:../.."), "layers": []}).to_string(), "digest"),
        (&json!({"config": descriptor(1, "md5:00"), "layers": []}).to_string(), "digest"),
        (&json!({"config": descriptor(1, ""), "layers": []}).to_string(), "digest"),
        (&json!({"config": good, "layers": vec![&good; 5000]}).to_string(), "4096"),
        (&json!({"config": descriptor(1 << 40, &digest), "layers": []}).to_string(), "1099511627776"),
        (&json!({"config": good, "layers": [], "schemaVersion": 2, "fsLayers": []}).to_string(), "manifest"),
    ];
    for (document, expected) in documents {
        let setup = setup().await;
        setup.registry.tag(REPOSITORY, "latest", &Blob::new(media::OCI_MANIFEST, document.to_owned()));
        let error = setup.pull().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{document}: {error}");
        setup.no_snapshots();
    }
}

#[tokio::test]
async fn a_configuration_must_fit_its_manifest() {
    let layer = Layer::new().file("x", 0o644, "");
    let fewer = Image::builder().layer(layer.clone(), Compression::Gzip).diff_ids(Vec::<String>::new()).build();
    let more = Image::builder()
        .layer(layer.clone(), Compression::Gzip)
        .diff_ids([Digest::of(b"").to_string(), Digest::of(b"x").to_string()]);
    let malformed = Image::builder().layer(layer, Compression::Gzip).diff_ids(["sha256:xx"]).build();
    for image in [fewer, more.build(), malformed] {
        let setup = setup().await;
        setup.registry.put_image(REPOSITORY, "latest", &image);
        let error = setup.pull().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(image.config.digest.hex()), "{error}");
        setup.no_snapshots();
    }
}

#[tokio::test]
async fn what_is_no_image_can_be_fetched_and_not_unpacked() {
    let mut setup = setup().await;
    let config = Blob::new("application/vnd.cncf.helm.config.v1+json", "{}");
    let chart = Blob::new("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "chart");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
        "config": config.descriptor(), "layers": [chart.descriptor()],
    });
    setup.registry.put_blob(REPOSITORY, &config);
    setup.registry.put_blob(REPOSITORY, &chart);
    setup.registry.tag(REPOSITORY, "latest", &Blob::new(media::OCI_MANIFEST, manifest.to_string()));
    let error = setup.pull().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unimplemented, "{error}");
    setup.puller.unpack = None;
    setup.pull().await.unwrap();
    assert!(setup.content.info(&chart.digest).is_ok());
}
