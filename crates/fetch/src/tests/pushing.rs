use futures::stream;
use wharf_testkit::registry::{Auth, Fault, On};

use super::*;

/// A blob's bytes in pieces.
struct Pieces(Bytes);

impl Source for Pieces {
    fn read(&self, offset: u64) -> ByteStream {
        let rest = self.0.slice(usize::try_from(offset).unwrap()..);
        let pieces: Vec<Result<Bytes>> = rest.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Box::pin(stream::iter(pieces))
    }
}

const ELSEWHERE: &str = "other/place";

impl Setup {
    fn pusher(&self, config: Config) -> Arc<dyn Pusher> {
        let reference = self.registry.reference(ELSEWHERE, "pushed").parse().unwrap();
        RegistryResolver::new(config).unwrap().pusher(&reference).unwrap()
    }

    async fn push(&self, config: Config, blob: &Blob, from: &[&str]) -> Result<Pushed> {
        let from: Vec<String> = from.iter().map(|one| (*one).to_owned()).collect();
        self.pusher(config).blob(&blob.descriptor(), &from, Arc::new(Pieces(blob.bytes.clone()))).await
    }

    #[track_caller]
    fn has(&self, blob: &Blob) {
        assert_eq!(self.registry.blob(ELSEWHERE, &blob.digest).map(|found| found.bytes), Some(blob.bytes.clone()));
    }

    /// How many bytes of bodies came by a method.
    fn received(&self, method: &str) -> u64 {
        self.registry.requests().iter().filter(|request| request.method == method).map(|request| request.received).sum()
    }
}

#[tokio::test]
async fn a_blob_is_sent_once() {
    let setup = setup().await;
    assert_eq!(setup.push(quick(), &setup.blob, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&setup.blob);
    assert_eq!(setup.push(quick(), &setup.blob, &[]).await.unwrap(), Pushed::Exists);
    assert_eq!(setup.received("PUT"), 100_000);
    let empty = Blob::new("application/octet-stream", "");
    assert_eq!(setup.push(quick(), &empty, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&empty);
}

#[tokio::test]
async fn what_another_repository_has_is_not_sent() {
    let setup = setup().await;
    let pushed = setup.push(quick(), &setup.blob, &["not/this", REPOSITORY]).await.unwrap();
    assert_eq!(pushed, Pushed::Mounted(REPOSITORY.to_owned()));
    setup.has(&setup.blob);
    assert_eq!(setup.received("PUT"), 0);
    // The upload that begins where nothing can be mounted is the one that is used.
    let new = Blob::new("application/octet-stream", "new");
    setup.registry.forget_requests();
    assert_eq!(setup.push(quick(), &new, &[REPOSITORY]).await.unwrap(), Pushed::Sent);
    let posts = setup.registry.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posts, 1);
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_it_was_cut() {
    let setup = setup().await;
    setup.registry.set_fault(On::Method("PUT", "uploads".into()), Fault::CutUpload(60_000)).times(1);
    setup.registry.set_fault(On::Method("PATCH", "uploads".into()), Fault::CutUpload(10_000)).times(1);
    assert_eq!(setup.push(quick(), &setup.blob, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&setup.blob);
    // 40,000 bytes were missing, then 30,000.
    assert_eq!(setup.received("PATCH"), 70_000);
}

#[tokio::test]
async fn an_upload_that_the_registry_forgot_begins_again() {
    let setup = setup().await;
    setup.registry.set_fault(On::Method("PUT", "uploads".into()), Fault::CutUpload(60_000)).times(1);
    setup.registry.set_fault(On::Method("GET", "uploads".into()), Fault::Status(404)).times(1);
    assert_eq!(setup.push(quick(), &setup.blob, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&setup.blob);
}

#[tokio::test]
async fn an_upload_that_is_always_cut_ends() {
    let setup = setup().await;
    setup.registry.set_fault(On::Method("PUT", "uploads".into()), Fault::CutUpload(10));
    setup.registry.set_fault(On::Method("PATCH", "uploads".into()), Fault::CutUpload(10));
    let error = setup.push(quick(), &setup.blob, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_registry_that_is_silent_is_given_up() {
    let setup = setup().await;
    setup.registry.set_fault(On::Method("PUT", "uploads".into()), Fault::NoAnswer);
    setup.registry.set_fault(On::Method("GET", "uploads".into()), Fault::NoAnswer);
    let config = quick();
    let timeouts = Timeouts { commit: Duration::from_millis(100), ..config.timeouts };
    let error = setup.push(Config { timeouts, ..config }, &setup.blob, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
}

#[tokio::test]
async fn a_registry_that_takes_only_pieces_gets_pieces() {
    let setup = setup().await;
    // More than the pieces' usual size, so that there are two.
    let large = Blob::new("application/octet-stream", vec![7; 20 * 1024 * 1024]);
    setup.registry.set_max_piece(16 * 1024 * 1024);
    assert_eq!(setup.push(quick(), &large, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&large);
    let pieces = setup.registry.requests().iter().filter(|request| request.method == "PATCH").count();
    assert_eq!(pieces, 2);
}

#[tokio::test]
async fn a_token_for_pushing_is_asked_for() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::bearer("ann", "secret"));
    let config = with_password(&setup.registry, "ann", "secret");
    assert_eq!(setup.push(config.clone(), &setup.blob, &[]).await.unwrap(), Pushed::Sent);
    setup.has(&setup.blob);
    assert_eq!(setup.registry.tokens_issued(), 1);
    // One that has expired is renewed, and a token for fetching does not do for pushing.
    let pusher = setup.pusher(config.clone());
    for (number, blob) in [vec![3; 5000], vec![4; 5000]].into_iter().enumerate() {
        setup.registry.expire_tokens();
        let blob = Blob::new("application/octet-stream", blob);
        let sent = pusher.blob(&blob.descriptor(), &[], Arc::new(Pieces(blob.bytes.clone()))).await;
        assert_eq!(sent.unwrap(), Pushed::Sent);
        setup.has(&blob);
        assert_eq!(setup.registry.tokens_issued(), number + 2);
    }
    let wrong = with_password(&setup.registry, "ann", "wrong");
    assert_eq!(kind_of(&setup, setup.push(wrong, &image_config(&setup), &[]).await), ErrorKind::Unauthenticated);
}

fn image_config(setup: &Setup) -> Blob {
    setup.image.config.clone()
}

#[tokio::test]
async fn another_host_gets_the_bytes_and_no_password() {
    let setup = setup().await;
    let storage = Registry::start().await.unwrap();
    setup.registry.set_auth(Auth::basic("ann", "secret"));
    let config = || with_password(&setup.registry, "ann", "secret");
    // An upload at the other place, to which the registry sends.
    let reference = storage.reference(ELSEWHERE, "x").parse().unwrap();
    storage.set_fault(On::Method("PUT", "uploads".into()), Fault::Status(403)).times(1);
    let begun = RegistryResolver::new(quick()).unwrap().pusher(&reference).unwrap();
    let refused = begun.blob(&setup.blob.descriptor(), &[], Arc::new(Pieces(setup.blob.bytes.clone()))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    storage.forget_requests();
    let to = format!("{}/v2/{ELSEWHERE}/blobs/uploads/0", storage.origin());
    setup.registry.set_fault(On::Method("POST", "uploads".into()), Fault::RedirectTo(202, to)).times(2);
    assert_eq!(setup.push(config(), &setup.blob, &[]).await.unwrap(), Pushed::Sent);
    assert_eq!(storage.blob(ELSEWHERE, &setup.blob.digest).unwrap().bytes, setup.blob.bytes);
    let requests = storage.requests();
    assert!(!requests.is_empty() && requests.iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn the_bytes_do_not_go_just_anywhere() {
    let setup = setup().await;
    for (to, word) in [("ftp://example.com/x", "neither"), ("http://ann:pw@127.0.0.1/x", "user of its own")] {
        setup.registry.set_fault(On::Method("POST", "uploads".into()), Fault::RedirectTo(202, to.into())).times(1);
        let error = setup.push(quick(), &setup.blob, &[]).await.unwrap_err();
        assert!(error.to_string().contains(word) && error.kind() == ErrorKind::FailedPrecondition, "{error}");
    }
}

#[tokio::test]
async fn manifests_go_by_name_or_digest_after_what_they_name() {
    let setup = setup().await;
    let pusher = setup.pusher(quick());
    let (target, bytes) = (setup.target.clone(), setup.image.manifest.bytes.clone());
    let early = pusher.manifest(&target, bytes.clone(), true).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::InvalidArgument);
    assert!(early.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{early}");
    for blob in setup.image.layers.iter().chain([&setup.image.config]) {
        setup.push(quick(), blob, &[]).await.unwrap();
    }
    assert_eq!(pusher.manifest(&target, bytes.clone(), false).await.unwrap(), Pushed::Sent);
    assert_eq!(setup.registry.tagged(ELSEWHERE, "pushed"), None);
    assert_eq!(pusher.manifest(&target, bytes.clone(), true).await.unwrap(), Pushed::Sent);
    assert_eq!(setup.registry.tagged(ELSEWHERE, "pushed"), Some(target.digest.clone()));
    assert_eq!(pusher.manifest(&target, bytes.clone(), true).await.unwrap(), Pushed::Exists);
    let other = format!("{}/{ELSEWHERE}@{}", setup.registry.host(), setup.blob.digest).parse().unwrap();
    let other = RegistryResolver::new(quick()).unwrap().pusher(&other).unwrap();
    assert_eq!(other.manifest(&target, bytes, true).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn bytes_that_cannot_be_read_are_the_error() {
    struct Broken;
    impl Source for Broken {
        fn read(&self, _offset: u64) -> ByteStream {
            let error = Error::Refused {
                doing: "read the blob".into(),
                kind: ErrorKind::DataLoss,
                reason: "the disk is gone".into(),
            };
            Box::pin(stream::iter([Ok(Bytes::from_static(b"some")), Err(error)]))
        }
    }
    let setup = setup().await;
    let error = setup.pusher(quick()).blob(&setup.blob.descriptor(), &[], Arc::new(Broken)).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::DataLoss, "read the blob: the disk is gone"));
}
