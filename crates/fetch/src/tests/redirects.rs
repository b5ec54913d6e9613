use wharf_testkit::registry::{Auth, Fault};

use super::*;

#[tokio::test]
async fn a_blob_comes_from_where_the_registry_points_and_no_credential_goes_there() {
    let (setup, elsewhere) = (setup().await, setup().await);
    setup.registry.set_auth(Auth::basic("ann", "secret"));
    let target = setup.blob.descriptor();
    for status in [301, 302, 303, 307, 308] {
        setup.registry.set_fault(&target.digest, Fault::Redirect(status, elsewhere.registry.origin())).times(2);
        elsewhere.registry.set_fault(&target.digest, Fault::CutAfter(30_000)).times(1);
        let mut config = with_password(&setup.registry, "ann", "secret");
        config.headers.push(("x-secret".to_owned(), "also secret".to_owned()));
        let resolver = RegistryResolver::new(config).unwrap();
        resolver.resolve(&setup.reference()).await.unwrap();
        assert_eq!(read(&resolver, &setup.reference(), &target, 0).await.unwrap(), setup.blob.bytes);
    }
    let seen = elsewhere.registry.requests();
    assert_eq!(seen.len(), 10);
    for request in seen {
        assert_eq!((request.header("authorization"), request.header("x-secret")), (None, None));
    }
    assert!(setup.registry.requests().iter().all(|request| request.header("x-secret").is_some()));
}

#[tokio::test]
async fn a_foreign_host_that_asks_for_credentials_gets_none() {
    let (setup, elsewhere) = (setup().await, setup().await);
    let target = setup.blob.descriptor();
    setup.registry.set_auth(Auth::basic("ann", "secret"));
    elsewhere.registry.set_auth(Auth::basic("ann", "secret"));
    setup.registry.set_fault(&target.digest, Fault::Redirect(307, elsewhere.registry.origin()));
    let config = with_password(&setup.registry, "ann", "secret");
    let resolver = RegistryResolver::new(config).unwrap();
    resolver.resolve(&setup.reference()).await.unwrap();
    let result = read(&resolver, &setup.reference(), &target, 0).await;
    assert_eq!(kind_of(&setup, result), ErrorKind::Unauthenticated);
    assert!(elsewhere.registry.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[tokio::test]
async fn loops_and_bad_addresses_end() {
    let setup = setup().await;
    let target = setup.blob.descriptor();
    let faults = [
        Fault::RedirectLoop,
        Fault::RedirectTo(302, "ftp://example.com/".into()),
        Fault::RedirectTo(302, "http://ann:secret@127.0.0.1/".into()),
        Fault::RedirectTo(302, "http://[".into()),
        Fault::RedirectTo(302, String::new()),
    ];
    for fault in faults {
        setup.registry.clear_faults();
        setup.registry.set_fault(&target.digest, fault.clone());
        setup.registry.forget_requests();
        let error = setup.fetch(quick(), &target, 0).await.unwrap_err();
        assert!(error.to_string().contains("redirect"), "{fault:?}: {error}");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        assert!(setup.registry.requests().len() <= 11);
    }
}
