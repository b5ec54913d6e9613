use wharf_content::Ingest;
use wharf_testkit::registry::{Fault, Throttle};

use super::*;

#[tokio::test]
async fn a_pull_goes_on_from_what_is_there() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let layer = &image.layers[0];
    // Each attempt brings some bytes, and three that bring none in a row would end a pull.
    setup.registry.set_fault(&layer.digest, Fault::CutAfter(200_000)).times(1);
    setup.registry.set_fault(&layer.digest, Fault::Status(403));
    assert_eq!(setup.pull().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    setup.no_snapshots();
    let left = setup.content.status(&format!("layer-{}", layer.digest)).unwrap();
    assert!(left.offset > 0 && left.offset <= 200_000, "{left:?}");
    setup.registry.clear_faults();
    setup.registry.forget_requests();
    let pulled = setup.pull().await.unwrap();
    assert_eq!(setup.registry.served(&layer.digest), layer.bytes.len() as u64 - left.offset);
    assert_eq!(setup.tree(&pulled.chain_id.unwrap())["noise"].2, noise(1, 300_000));
}

#[tokio::test]
async fn an_ingest_that_is_complete_is_only_committed() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let layer = &image.layers[1];
    let ingest = Ingest {
        reference: format!("layer-{}", layer.digest),
        total: Some(layer.bytes.len() as u64),
        ..Default::default()
    };
    setup.content.writer(&ingest).unwrap().write(&layer.bytes).unwrap();
    setup.pull().await.unwrap();
    assert_eq!(setup.registry.served(&layer.digest), 0);
}

#[tokio::test]
async fn bytes_that_a_power_cut_spoilt_are_fetched_again() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    let layer = &image.layers[0];
    let ingest = Ingest { reference: format!("layer-{}", layer.digest), ..Default::default() };
    setup.content.writer(&ingest).unwrap().write(&vec![0; 100_000]).unwrap();
    let pulled = setup.pull().await.unwrap();
    assert_eq!(setup.tree(&pulled.chain_id.unwrap())["noise"].2, noise(1, 300_000));
    assert!(setup.all().iter().all(|(_, kind)| *kind == Kind::Committed));
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_ingests_only() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    setup.registry.set_throttle(Throttle { bytes_per_second: Some(1_000_000), ..Throttle::default() });
    let begun = Arc::new(tokio::sync::Notify::new());
    let told = begun.clone();
    let report: Report = Arc::new(move |progress| {
        if matches!(progress, Progress::Unpacking(..)) {
            told.notify_one();
        }
    });
    let (reference, wanted) = (setup.reference(), options());
    tokio::select! {
        pulled = setup.puller.pull(&reference, &wanted, report) => panic!("{pulled:?}"),
        () = begun.notified() => {}
    }
    // The threads have no more to wait for; they end by themselves.
    while !setup.all().is_empty() {
        tokio::task::yield_now().await;
    }
    setup.registry.set_throttle(Throttle::default());
    let pulled = setup.pull().await.unwrap();
    assert_eq!(setup.tree(&pulled.chain_id.unwrap()).len(), 8);
}

#[tokio::test]
async fn a_damaged_manifest_in_the_store_is_fetched_again() {
    let (setup, image) = (setup().await, image());
    setup.registry.put_image(REPOSITORY, "latest", &image);
    setup.pull().await.unwrap();
    let path = setup.root.path().join("content/blobs/sha256").join(image.manifest.digest.hex());
    std::fs::write(&path, vec![b'x'; image.manifest.bytes.len()]).unwrap();
    setup.pull().await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), image.manifest.bytes);
}
