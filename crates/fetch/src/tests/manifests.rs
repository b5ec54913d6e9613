use wharf_testkit::image::{Index, media, platform};
use wharf_testkit::registry::{Fault, On};

use super::*;

#[tokio::test]
async fn a_tag_is_resolved_by_head_and_the_manifest_fetched_by_digest() {
    let setup = setup().await;
    let target = setup.resolve(quick()).await.unwrap();
    assert_eq!(target, setup.target);
    assert_eq!(setup.fetch(quick(), &target, 0).await.unwrap(), setup.image.manifest.bytes);
    assert_eq!(setup.fetch(quick(), &target, 10).await.unwrap(), setup.image.manifest.bytes[10..]);
    let requests: Vec<(String, String)> =
        setup.registry.requests().into_iter().map(|request| (request.method, request.path)).collect();
    assert_eq!(requests[0], ("HEAD".to_owned(), "/v2/some/image/manifests/latest".to_owned()));
    assert_eq!(requests[1], ("GET".to_owned(), format!("/v2/some/image/manifests/{}", target.digest)));
    let agent = setup.registry.requests()[0].header("user-agent").unwrap().to_owned();
    assert!(agent.starts_with("wharf/"), "{agent}");
}

#[tokio::test]
async fn indexes_and_dockers_types_are_taken() {
    let registry = Registry::start().await.unwrap();
    let image = |architecture: &str| Image::builder().platform(platform(architecture)).docker().build();
    let index = Index::docker(vec![image("amd64"), image("arm64")]);
    let target = registry.put_index("multi", "latest", &index);
    let resolver = RegistryResolver::new(quick()).unwrap();
    let reference: Reference = registry.reference("multi", "latest").parse().unwrap();
    assert_eq!(resolver.resolve(&reference).await.unwrap(), target);
    assert_eq!(target.media_type, media::DOCKER_INDEX);
    let by_digest = reference.with_digest(index.images[1].manifest.digest.clone());
    assert_eq!(resolver.resolve(&by_digest).await.unwrap(), index.images[1].manifest.descriptor());
}

#[tokio::test]
async fn without_head_get_is_asked() {
    let setup = setup().await;
    setup.registry.set_fault(On::Method("HEAD", "manifests".into()), Fault::Status(405));
    assert_eq!(setup.resolve(quick()).await.unwrap(), setup.target);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_registrys_words() {
    let setup = setup().await;
    let resolver = RegistryResolver::new(quick()).unwrap();
    let reference = setup.reference().with_tag("other").unwrap();
    let error = resolver.resolve(&reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    assert!(text.contains("MANIFEST_UNKNOWN") && text.contains("some/image:other"), "{text}");
}

#[tokio::test]
async fn hosts_that_cannot_be_reached_are_unavailable_and_named() {
    let setup = setup().await;
    let resolver = RegistryResolver::new(quick()).unwrap();
    let (host, reference) = (setup.registry.host(), setup.reference());
    drop(setup);
    // The socket is closed when the registry's task has ended.
    while tokio::net::TcpStream::connect(&host).await.is_ok() {}
    for reference in [reference, "registry.invalid/x/y".parse().unwrap()] {
        let error = resolver.resolve(&reference).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(reference.registry()), "{error}");
    }
}

#[tokio::test]
async fn bad_documents_are_refused() {
    let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
    let inner = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media::OCI_INDEX);
    let faults = [
        (Fault::Body("text/html", "<html>".into()), "JSON"),
        (Fault::Body(media::OCI_MANIFEST, "no JSON".into()), "JSON"),
        (Fault::Body(media::OCI_MANIFEST, "".into()), "JSON"),
        (Fault::Body(media::OCI_MANIFEST, both.into()), "both manifests and layers"),
        (Fault::Body(media::OCI_MANIFEST, inner.into()), "mediaType"),
        (Fault::Body("application/json", r#"{"schemaVersion":1}"#.into()), "application/json"),
        (Fault::DigestHeader(wharf_types::Digest::of(b"other").to_string()), "digest"),
        (Fault::DigestHeader("sha256:../../x".into()), "not a digest"),
    ];
    for (fault, expected) in faults {
        let setup = setup().await;
        setup.registry.set_fault(On::Method("HEAD", "manifests".into()), Fault::Status(404));
        setup.registry.set_fault("manifests", fault.clone());
        let error = setup.resolve(quick()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{fault:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    }
}

#[tokio::test]
async fn a_manifest_of_ten_megabytes_is_refused_before_it_is_read() {
    let setup = setup().await;
    setup.registry.set_fault("manifests", Fault::Zeros(10_000_000));
    let error = setup.resolve(quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    let text = error.to_string();
    assert!(text.contains("10000000") && text.contains("8388608"), "{text}");
    let huge = Descriptor { size: 8 << 30, ..setup.target.clone() };
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &huge, 0).await), ErrorKind::ResourceExhausted);
}

#[tokio::test]
async fn a_manifest_that_comes_as_another_type_or_size_is_refused() {
    let setup = setup().await;
    setup.registry.set_fault(&setup.target.digest, Fault::ContentType(media::OCI_INDEX)).times(1);
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &setup.target, 0).await), ErrorKind::FailedPrecondition);
    setup.registry.set_fault(&setup.target.digest, Fault::Truncated(1)).times(1);
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &setup.target, 0).await), ErrorKind::FailedPrecondition);
}

#[tokio::test]
async fn passing_refusals_are_tried_again_and_lasting_ones_told() {
    let setup = setup().await;
    setup.registry.set_fault("manifests", Fault::Status(503)).times(1);
    setup.registry.set_fault("manifests", Fault::RetryAfter(429, "1000000".into())).times(1);
    assert_eq!(setup.resolve(quick()).await.unwrap(), setup.target);
    setup.registry.set_fault("manifests", Fault::Status(500));
    setup.registry.forget_requests();
    assert_eq!(kind_of(&setup, setup.resolve(quick()).await), ErrorKind::Unavailable);
    assert_eq!(setup.registry.requests().len(), 3);
    setup.registry.clear_faults();
    setup.registry.set_fault("manifests", Fault::Status(403));
    assert_eq!(kind_of(&setup, setup.resolve(quick()).await), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn silence_and_nonsense_end_before_the_deadline() {
    let faults = [
        (Fault::NoAnswer, ErrorKind::DeadlineExceeded),
        (Fault::TrickleHeaders(Duration::from_millis(50)), ErrorKind::DeadlineExceeded),
        (Fault::Garbage, ErrorKind::Unavailable),
    ];
    for (fault, expected) in faults {
        let setup = setup().await;
        setup.registry.set_fault(On::All, fault);
        assert_eq!(kind_of(&setup, setup.resolve(quick()).await), expected);
    }
    let setup = setup().await;
    setup.registry.set_fault(&setup.target.digest, Fault::Trickle(Duration::from_millis(50)));
    assert_eq!(kind_of(&setup, setup.fetch(quick(), &setup.target, 0).await), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_manifest_that_was_cut_off_is_asked_for_again() {
    let setup = setup().await;
    setup.registry.set_fault(&setup.target.digest, Fault::CutAfter(10)).times(2);
    assert_eq!(setup.fetch(quick(), &setup.target, 0).await.unwrap(), setup.image.manifest.bytes);
}

#[tokio::test]
async fn a_registry_without_tls_is_told_from_one_that_is_away() {
    let setup = setup().await;
    let error = setup.resolve(Config { default_scheme: Some(Scheme::Https), ..quick() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("plain http"), "{error}");
}
