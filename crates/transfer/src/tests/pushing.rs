use wharf_testkit::image::{Index, platform};
use wharf_testkit::registry::{Fault, On};
use wharf_types::media::is_manifest;

use super::*;

impl Setup {
    fn pusher(&self) -> Pusher {
        let (resolver, content) = (self.puller.resolver.clone(), self.content.clone());
        Pusher { resolver, content, platforms: Vec::new(), concurrency: 3 }
    }

    /// Pulls all of what the registry has, and pushes it as another name.
    async fn round(&self, repository: &str) -> Result<()> {
        let puller = Puller { unpack: None, ..self.puller.clone() };
        let target =
            puller.pull(&self.reference(), &Options { all_platforms: true, ..options() }, Arc::new(|_| {})).await?;
        let to = self.registry.reference(repository, "pushed").parse().unwrap();
        let seen = self.seen.clone();
        let report: Report = Arc::new(move |progress| seen.lock().unwrap().push(progress));
        self.pusher().push(&target.target, &to, report).await
    }
}

fn two() -> Index {
    let here = host_platform().architecture;
    let for_platform = |architecture: &str| {
        let layer = Layer::new().file("for", 0o644, noise(9, 200_000)).file("name", 0o644, architecture.as_bytes());
        Image::builder().layer(layer, Compression::Gzip).platform(platform(architecture)).build()
    };
    Index::new(vec![for_platform("s390x"), for_platform(&here)])
}

#[tokio::test]
async fn an_index_goes_with_all_that_it_leads_to_and_its_name_last() {
    let setup = setup().await;
    let index = two();
    setup.registry.put_index(REPOSITORY, "latest", &index);
    setup.registry.forget_requests();
    setup.round("other/place").await.unwrap();
    assert_eq!(setup.registry.tagged("other/place", "pushed"), Some(index.blob.digest.clone()));
    let blobs = index.images.iter().flat_map(|image| image.layers.iter().chain([&image.config, &image.manifest]));
    for blob in blobs {
        assert_eq!(setup.registry.blob("other/place", &blob.digest).map(|found| found.bytes), Some(blob.bytes.clone()));
    }
    // It came from this registry: no blob is sent.
    let requests = setup.registry.requests();
    assert!(requests.iter().all(|request| request.method != "PUT" || request.path.contains("/manifests/")));
    let last = requests.iter().rfind(|request| request.method == "PUT").unwrap();
    assert_eq!(last.path, "/v2/other/place/manifests/pushed");
}

#[tokio::test]
async fn another_registry_is_sent_the_bytes_with_progress() {
    let setup = setup().await;
    let image = image();
    let target = setup.registry.put_image(REPOSITORY, "latest", &image);
    setup.pull().await.unwrap();
    let other = Registry::start().await.unwrap();
    other.set_fault(On::Method("PUT", "uploads".into()), Fault::CutUpload(100_000)).times(1);
    let to = other.reference(REPOSITORY, "latest").parse().unwrap();
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let told = seen.clone();
    let report: Report = Arc::new(move |progress| told.lock().unwrap().push(progress));
    setup.pusher().push(&target, &to, report.clone()).await.unwrap();
    assert_eq!(other.tagged(REPOSITORY, "latest"), Some(target.digest.clone()));
    let sent = |seen: &[Progress]| seen.iter().filter(|one| matches!(one, Progress::Sent(_))).count();
    assert_eq!(sent(&seen.lock().unwrap()), 5);
    let told = |one: &Progress| matches!(one, Progress::Sending(layer, bytes) if *bytes == layer.size);
    assert!(seen.lock().unwrap().iter().any(told));
    seen.lock().unwrap().clear();
    setup.pusher().push(&target, &to, report).await.unwrap();
    assert_eq!(sent(&seen.lock().unwrap()), 0);
}

#[tokio::test]
async fn what_is_not_there_is_not_pushed() {
    let setup = setup().await;
    let index = two();
    let target = setup.registry.put_index(REPOSITORY, "latest", &index);
    setup.pull().await.unwrap();
    let other = Registry::start().await.unwrap();
    let to = other.reference(REPOSITORY, "latest").parse().unwrap();
    let error = setup.pusher().push(&target, &to, Arc::new(|_| {})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains(&index.images[0].manifest.digest.to_string()), "{error}");
    // Of the platform that is there all is sent; that the index cannot be taken without the other is the registry's word.
    let pusher = Pusher { platforms: vec![Platform::host()], ..setup.pusher() };
    let error = pusher.push(&target, &to, Arc::new(|_| {})).await.unwrap_err();
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert_eq!(other.tagged(REPOSITORY, "latest"), None);
    let here = &index.images[1].manifest;
    assert!(is_manifest(&other.blob(REPOSITORY, &here.digest).unwrap().media_type));
}
