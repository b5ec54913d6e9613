use super::*;

fn check_tree(setup: &Setup, chain_id: &Digest) {
    let tree = setup.tree(chain_id);
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["etc", "etc/a", "etc/b", "more", "noise", "opt", "opt/again", "opt/seen"]);
    assert_eq!((tree["etc"].0, tree["etc"].1), (0o750, 7), "a directory that a later layer only passed through");
    assert_eq!(tree["opt"].0, 0o711);
    assert_eq!(tree["noise"].2, noise(1, 300_000));
    assert_eq!(tree["opt/again"].2, b"seen");
}

#[tokio::test]
async fn an_image_is_pulled_and_unpacked_and_nothing_is_left_over() {
    let (setup, image) = (setup().await, image());
    let target = setup.registry.put_image(REPOSITORY, "latest", &image);
    let pulled = setup.pull().await.unwrap();
    assert_eq!(pulled.target, target);
    let chain_id = pulled.chain_id.unwrap();
    check_tree(&setup, &chain_id);
    let all = setup.all();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|(_, kind)| *kind == Kind::Committed), "{all:?}");
    assert_eq!(setup.content.statuses(&Filters::default()).unwrap(), []);
    for layer in &image.layers {
        assert_eq!(setup.registry.served(&layer.digest), layer.bytes.len() as u64);
    }
}

#[tokio::test]
async fn labels_are_containerds() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let chain_id = setup.pull().await.unwrap().chain_id.unwrap().to_string();
    let source = format!("containerd.io/distribution.source.{}", setup.registry.host());
    let manifest = setup.labels(&image.manifest.digest);
    assert_eq!(manifest["containerd.io/gc.ref.content.config"], image.config.digest.to_string());
    for (number, layer) in image.layers.iter().enumerate() {
        assert_eq!(manifest[&format!("containerd.io/gc.ref.content.l.{number}")], layer.digest.to_string());
        let labels = setup.labels(&layer.digest);
        assert_eq!(labels["containerd.io/uncompressed"], image.diff_ids[number]);
        assert_eq!(labels[&source], REPOSITORY);
    }
    assert_eq!(setup.labels(&image.config.digest)["containerd.io/gc.ref.snapshot.overlayfs"], chain_id);
    let snapshot = setup.snapshots.stat(&chain_id).unwrap();
    assert_eq!(snapshot.labels["containerd.io/snapshot.ref"], chain_id);
    assert!(snapshot.parent.is_some());
}

#[tokio::test]
async fn a_snapshotter_that_copies_makes_the_same_tree() {
    let (setup, image) = (setup_with(native).await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    check_tree(&setup, &setup.pull().await.unwrap().chain_id.unwrap());
}

#[tokio::test]
async fn a_second_pull_fetches_nothing() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let first = setup.pull().await.unwrap();
    setup.registry.forget_requests();
    assert_eq!(setup.pull().await.unwrap(), first);
    let requests = setup.registry.requests();
    assert_eq!(requests.len(), 1, "the tag is looked up: {requests:?}");
}

#[tokio::test]
async fn lower_layers_that_are_there_are_not_unpacked_again() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    setup.pull().await.unwrap();
    let base = Layer::new().dir("base", 0o700).owner(9, 9);
    let top = Layer::new().file("base/deep/top", 0o644, "top");
    let below = Image::builder().layer(base.clone(), Compression::Gzip).build();
    let above = Image::builder()
        .layer(base, Compression::Gzip)
        .layer(Layer::new().file("between", 0o644, ""), Compression::Gzip)
        .layer(top, Compression::Gzip)
        .build();
    setup.registry.put_image(REPOSITORY, "latest", &below);
    setup.pull().await.unwrap();
    setup.seen.lock().unwrap().clear();
    setup.registry.put_image(REPOSITORY, "latest", &above);
    let chain_id = setup.pull().await.unwrap().chain_id.unwrap();
    let unpacked = setup.seen.lock().unwrap().iter().filter(|one| matches!(one, Progress::Unpacked(_))).count();
    assert_eq!(unpacked, 2);
    let tree = setup.tree(&chain_id);
    assert_eq!((tree["base"].0, tree["base"].1), (0o700, 9));
}

#[tokio::test]
async fn layers_that_need_their_parents_get_them() {
    // A path through a link of a lower layer can only be followed when that layer is in sight.
    let lower = Layer::new().dir("usr", 0o755).dir("usr/lib", 0o755).symlink("lib", "usr/lib");
    let upper = Layer::new().file("lib/new", 0o644, "new");
    let image = Image::builder().layer(lower, Compression::Gzip).layer(upper.clone(), Compression::Gzip);
    let image = image
        .layer(Layer::new().file("usr/last", 0o644, ""), Compression::Gzip)
        .layer(upper, Compression::Gzip)
        .build();
    let setup = setup().await;
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let tree = setup.tree(&setup.pull().await.unwrap().chain_id.unwrap());
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(names, ["lib", "usr", "usr/last", "usr/lib", "usr/lib/new"]);
    assert!(setup.all().iter().all(|(_, kind)| *kind == Kind::Committed));
}

#[tokio::test]
async fn pulls_of_one_image_at_once_end_well_and_fetch_once() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let pulls = futures::future::join_all((0..8).map(|_| setup.pull())).await;
    let first = pulls[0].as_ref().unwrap();
    assert!(pulls.iter().all(|pulled| pulled.as_ref().unwrap() == first));
    for layer in &image.layers {
        assert_eq!(setup.registry.served(&layer.digest), layer.bytes.len() as u64);
    }
    assert_eq!(setup.all().len(), 3);
    check_tree(&setup, first.chain_id.as_ref().unwrap());
}

#[tokio::test]
async fn no_layers_and_the_same_layer_twice() {
    let setup = setup().await;
    setup.registry.put_image(REPOSITORY, "latest", &Image::builder().build());
    assert_eq!(setup.pull().await.unwrap().chain_id, None);
    let layer = Layer::new().file("x", 0o644, noise(3, 10_000));
    let twice = Image::builder().layer(layer.clone(), Compression::Gzip).layer(layer, Compression::Gzip).build();
    setup.registry.put_image(REPOSITORY, "latest", &twice);
    setup.registry.forget_requests();
    let pulled = setup.pull().await.unwrap();
    assert_eq!(setup.registry.served(&twice.layers[0].digest), twice.layers[0].bytes.len() as u64);
    assert_eq!(setup.tree(&pulled.chain_id.unwrap()).len(), 1);
    assert_eq!(setup.all().len(), 2);
}

#[tokio::test]
async fn without_a_snapshotter_everything_is_fetched_and_nothing_unpacked() {
    let (mut setup, image) = (setup().await, image());
    setup.puller.unpack = None;
    setup.registry.put_image(REPOSITORY, "latest", &image);
    assert_eq!(setup.pull().await.unwrap().chain_id, None);
    for layer in &image.layers {
        assert!(!setup.labels(&layer.digest).contains_key("containerd.io/uncompressed"));
    }
    setup.no_snapshots();
}

#[tokio::test]
async fn progress_tells_each_step_of_each_layer() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    setup.pull().await.unwrap();
    let seen = setup.seen.lock().unwrap();
    assert!(matches!(seen[0], Progress::Resolved(..)));
    assert!(matches!(seen[seen.len() - 1], Progress::Committed(_)));
    for layer in &image.layers {
        let digest = &layer.digest;
        let whole = layer.bytes.len() as u64;
        assert!(seen.iter().any(|one| matches!(one, Progress::Fetched(of, n) if of.digest == *digest && *n == whole)));
        assert!(
            seen.iter().any(|one| matches!(one, Progress::Unpacking(of, n) if of.digest == *digest && *n == whole))
        );
        assert!(seen.iter().any(|one| matches!(one, Progress::Stored(of) if of.digest == *digest)));
        assert!(seen.iter().any(|one| matches!(one, Progress::Unpacked(of) if of.digest == *digest)));
    }
}
