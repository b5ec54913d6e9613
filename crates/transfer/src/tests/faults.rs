use wharf_testkit::image::Blob;
use wharf_testkit::registry::Fault;

use super::*;

/// Pulls what must fail, and checks that nothing is left of it but ingests that nobody holds.
#[track_caller]
fn refused(setup: &Setup, result: Result<Pulled>, names: &str) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(error.to_string().contains(names), "{error} should name {names}");
    setup.no_snapshots();
    error.kind()
}

#[tokio::test]
async fn a_registry_that_serves_wrong_bytes_is_found_out() {
    let faults = [
        (Fault::WrongBytes, ErrorKind::FailedPrecondition),
        (Fault::Truncated(10), ErrorKind::FailedPrecondition),
        (Fault::TooLong(10), ErrorKind::FailedPrecondition),
        (Fault::ContentLength(10), ErrorKind::FailedPrecondition),
        (Fault::Status(404), ErrorKind::NotFound),
        (Fault::Status(401), ErrorKind::Unauthenticated),
        (Fault::Status(500), ErrorKind::Unavailable),
        (Fault::CutAfter(100), ErrorKind::Unavailable),
        (Fault::StallAfter(100), ErrorKind::DeadlineExceeded),
        (Fault::RedirectLoop, ErrorKind::FailedPrecondition),
        (Fault::Body("text/html", "<html>".into()), ErrorKind::FailedPrecondition),
    ];
    for place in [0, 1, 2] {
        let (setup, image) = (setup().await, image());
        setup.registry.put_image(REPOSITORY, "latest", &image);
        let layer = image.layers[place].digest.clone();
        for (fault, expected) in &faults {
            setup.registry.clear_faults();
            setup.registry.set_fault(&layer, fault.clone());
            // Authentication is the registry's affair, not the layer's.
            let host = setup.registry.host();
            let named = if *expected == ErrorKind::Unauthenticated { host.as_str() } else { layer.hex() };
            let result = setup.pull().await;
            assert!(result.is_err(), "{fault:?} in layer {place}");
            let kind = refused(&setup, result, named);
            assert_eq!(kind, *expected, "{fault:?} in layer {place}");
            assert!(setup.content.info(&layer).is_err(), "{fault:?} in layer {place}");
        }
        setup.registry.clear_faults();
        setup.pull().await.unwrap();
    }
}

#[tokio::test]
async fn layers_that_cannot_be_extracted_are_refused() {
    let good = || Layer::new().file("good", 0o644, noise(1, 100_000));
    let cases: Vec<(&str, Blob)> = vec![
        ("gzip garbage", Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", vec![0x1f, 0x8b, 8, 1, 2, 3])),
        ("no tar", Blob::new("application/vnd.oci.image.layer.v1.tar", vec![b'x'; 1000])),
        ("unknown type", Blob::new("application/x-unknown", b"x".to_vec())),
        ("cut short", {
            let mut bytes = Compression::Gzip.compress(good().into_tar());
            bytes.truncate(bytes.len() / 2);
            Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", bytes)
        }),
    ];
    for open in [None, Some(native as fn(&Path) -> Arc<dyn Snapshotter>)] {
        for (name, blob) in &cases {
            let setup = match open {
                Some(open) => setup_with(open).await,
                None => setup().await,
            };
            let diff_id = Digest::of(name.as_bytes()).to_string();
            let image =
                Image::builder().raw_layer(blob.clone(), Some(&diff_id)).layer(good(), Compression::Gzip).build();
            setup.registry.put_image(REPOSITORY, "latest", &image);
            refused(&setup, setup.pull().await, blob.digest.hex());
        }
    }
}

#[tokio::test]
async fn a_layer_that_reaches_outside_touches_nothing() {
    let canary = tempfile::tempdir().unwrap();
    let outside = canary.path().join("canary");
    std::fs::write(&outside, "untouched").unwrap();
    let escape = format!("../../../../../../../..{}", outside.display());
    let bad = [
        Layer::new().file(&escape, 0o644, "changed"),
        Layer::new().symlink("link", canary.path().to_str().unwrap()).file("link/canary", 0o644, "changed"),
        Layer::new().hard_link("link", &escape).file("link", 0o644, "changed"),
    ];
    for layer in bad {
        let setup = setup().await;
        let image =
            Image::builder().layer(Layer::new().dir("x", 0o755), Compression::Gzip).layer(layer, Compression::Gzip);
        setup.registry.put_image(REPOSITORY, "latest", &image.build());
        // Refused, or kept inside: the host's file is the judge.
        let _ = setup.pull().await;
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    }
}

#[tokio::test]
async fn a_layer_that_is_another_than_the_configuration_says() {
    for (setup, kind) in [(setup().await, "overlayfs"), (setup_with(native).await, "native")] {
        let layers = [Layer::new().file("a", 0o644, "a"), Layer::new().file("b", 0o644, "b")];
        let [first, second] = layers;
        let wrong = Digest::of(b"wrong").to_string();
        let right = Digest::of(&first.clone().into_tar()).to_string();
        let image = Image::builder()
            .layer(first, Compression::Gzip)
            .layer(second, Compression::Gzip)
            .diff_ids([right, wrong.clone()]);
        let image = image.build();
        setup.registry.put_image(REPOSITORY, "latest", &image);
        let error = setup.pull().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(image.layers[1].digest.hex()) && text.contains(&wrong), "{kind}: {text}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        let wrong_chain = document::chain_ids(&[image.diff_ids[0].parse().unwrap(), wrong.parse().unwrap()])[1].clone();
        assert!(setup.snapshots.stat(&wrong_chain.to_string()).is_err());
        assert!(setup.all().iter().all(|(_, kind)| *kind == Kind::Committed), "no extraction is left");
    }
}
