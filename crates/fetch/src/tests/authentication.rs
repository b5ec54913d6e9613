use wharf_testkit::registry::auth::Bearer;
use wharf_testkit::registry::{Auth, Fault, On};

use super::*;

#[tokio::test]
async fn basic_authentication() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::basic("ann", "secret"));
    let config = with_password(&setup.registry, "ann", "secret");
    assert_eq!(setup.resolve(config).await.unwrap(), setup.target);
    assert_eq!(kind_of(&setup, setup.resolve(quick()).await), ErrorKind::Unauthenticated);
    let wrong = with_password(&setup.registry, "ann", "wr0ng-pass");
    let error = setup.resolve(wrong).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("wr0ng-pass"), "{error:?}");
    assert_eq!(kind_of(&setup, Err::<(), _>(error)), ErrorKind::Unauthenticated);
}

#[tokio::test]
async fn tokens_are_asked_for_once_and_kept() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::bearer("ann", "secret"));
    let resolver = RegistryResolver::new(with_password(&setup.registry, "ann", "secret")).unwrap();
    let target = resolver.resolve(&setup.reference()).await.unwrap();
    for _ in 0..3 {
        read(&resolver, &setup.reference(), &target, 0).await.unwrap();
    }
    assert_eq!(setup.registry.tokens_issued(), 1);
    let asked = setup.registry.requests().into_iter().find(|request| request.path == "/token").unwrap();
    assert!(asked.query.contains("scope=repository%3Asome%2Fimage%3Apull"), "{}", asked.query);
    assert!(asked.query.contains("service=test"), "{}", asked.query);
}

#[tokio::test]
async fn everybody_may_get_an_anonymous_token() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::anonymous_bearer());
    assert_eq!(setup.resolve(quick()).await.unwrap(), setup.target);
}

#[tokio::test]
async fn a_wrong_password_at_the_realm_is_told_without_it() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::bearer("ann", "secret"));
    let echo = br#"{"details":"no such password: wr0ng-pass"}"#;
    let configs = [with_password(&setup.registry, "ann", "wr0ng-pass"), quick()];
    for config in configs {
        let error = setup.resolve(config).await.unwrap_err();
        assert_eq!(kind_of(&setup, Err::<(), _>(error)), ErrorKind::Unauthenticated);
    }
    setup.registry.set_fault("/token", Fault::Body("application/json", echo.to_vec().into()));
    let error = setup.resolve(with_password(&setup.registry, "ann", "wr0ng-pass")).await.unwrap_err();
    assert!(!error.to_string().contains("wr0ng-pass"), "{error}");
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_of_a_pull_is_renewed() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::bearer("ann", "secret"));
    let resolver = RegistryResolver::new(with_password(&setup.registry, "ann", "secret")).unwrap();
    resolver.resolve(&setup.reference()).await.unwrap();
    setup.registry.expire_tokens();
    let target = setup.blob.descriptor();
    setup.registry.set_fault(&target.digest, Fault::CutAfter(40_000)).times(1);
    let reference = setup.reference();
    let (a, b) = tokio::join!(read(&resolver, &reference, &target, 0), read(&resolver, &reference, &setup.target, 0));
    assert_eq!(a.unwrap(), setup.blob.bytes);
    assert_eq!(b.unwrap(), setup.image.manifest.bytes);
    assert_eq!(setup.registry.tokens_issued(), 2, "two that waited share one token");
}

#[tokio::test]
async fn oauth2_with_a_refresh_token_and_with_a_password() {
    let setup = setup().await;
    let Auth::Bearer(bearer) = Auth::bearer("ann", "secret") else { unreachable!() };
    let refresh_token = Some("refresh-me".to_owned());
    setup.registry.set_auth(Auth::Bearer(Bearer { refresh_token, post_only: true, ..bearer }));
    let refresh = HashMap::from([(setup.registry.host(), Credentials::Refresh(Secret::new("refresh-me")))]);
    let refresh = Config { credentials: Arc::new(refresh), ..quick() };
    assert_eq!(setup.resolve(refresh).await.unwrap(), setup.target);
    let password = with_password(&setup.registry, "ann", "secret");
    assert_eq!(setup.resolve(password).await.unwrap(), setup.target);
}

#[tokio::test]
async fn a_password_stays_away_from_realms_elsewhere_unless_they_are_named() {
    let (setup, elsewhere) = (setup().await, Registry::start().await.unwrap());
    elsewhere.set_auth(Auth::bearer("ann", "secret"));
    let realm = Some(format!("{}/token", elsewhere.origin()));
    setup.registry.set_auth(Auth::Bearer(Bearer { realm: realm.clone(), ..Bearer::default() }));
    let mut config = with_password(&setup.registry, "ann", "secret");
    let error = setup.resolve(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains(&elsewhere.host()), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(elsewhere.requests(), []);
    config.realms.insert(setup.registry.host(), vec![elsewhere.host()]);
    // Its token does not count here, but it was asked for.
    assert_eq!(kind_of(&setup, setup.resolve(config).await), ErrorKind::Unauthenticated);
    assert!(elsewhere.tokens_issued() > 0);
}

#[tokio::test]
async fn a_realm_that_is_slow_large_or_no_realm_is_named() {
    let setup = setup().await;
    setup.registry.set_auth(Auth::anonymous_bearer());
    let faults = [
        Fault::NoAnswer,
        Fault::Zeros(2_000_000),
        Fault::Body("application/json", "{}".into()),
        Fault::Body("application/json", r#"{"token":"a\nb"}"#.into()),
        Fault::Body("text/html", "<html>".into()),
        Fault::Status(500),
        Fault::RedirectLoop,
    ];
    for fault in faults {
        setup.registry.clear_faults();
        setup.registry.set_fault("/token", fault.clone());
        let error = setup.resolve(quick()).await.unwrap_err();
        assert!(error.to_string().contains("token") || error.to_string().contains("secret"), "{fault:?}: {error}");
    }
    setup.registry.clear_faults();
    setup.registry.set_fault(On::Path("/token".into()), Fault::Status(503)).times(1);
    assert_eq!(setup.resolve(quick()).await.unwrap(), setup.target);
}
