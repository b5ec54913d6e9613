use proptest::prelude::*;

use super::*;

fn reason(text: &str) -> &'static str {
    text.parse::<Reference>().map(|taken| panic!("{text} was taken as {taken}")).unwrap_err().reason
}

#[test]
fn each_has_one_normal_form() {
    let hex = "a".repeat(64);
    let digest = format!("sha256:{hex}");
    for (text, normal) in [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("me/busybox", "docker.io/me/busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/me/busybox", "docker.io/me/busybox:latest"),
        ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost", "docker.io/library/localhost:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("localhost:5000/a/b/c:T-1._", "localhost:5000/a/b/c:T-1._"),
        ("LOCALHOST/x", "LOCALHOST/x:latest"),
        ("Host/x", "Host/x:latest"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        ("gcr.io/a__b/c---d/e.f_g", "gcr.io/a__b/c---d/e.f_g:latest"),
        (&format!("busybox@{digest}"), &format!("docker.io/library/busybox@{digest}")),
        (&format!("x.y/z:t@{digest}"), &format!("x.y/z:t@{digest}")),
        (&format!("{hex}:tag"), &format!("docker.io/library/{hex}:tag")),
        (&format!("me/{hex}"), &format!("docker.io/me/{hex}:latest")),
    ] {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), normal, "{text}");
    }
}

#[test]
fn what_names_no_image_is_refused_with_its_reason() {
    let hex = "0".repeat(64);
    for (text, words) in [
        ("", "empty"),
        (hex.as_str(), "64 hexadecimal"),
        ("BusyBox", "lower case"),
        ("me/BusyBox", "lower case"),
        ("docker.io/", "no repository"),
        (":tag", "no repository"),
        ("/busybox", "lower-case letters"),
        ("a//b", "lower-case letters"),
        ("a/b/", "lower-case letters"),
        ("a..b", "lower-case letters"),
        ("a___b", "lower-case letters"),
        ("a._b", "lower-case letters"),
        ("a-", "lower-case letters"),
        ("-a", "lower-case letters"),
        ("a/../b", "lower-case letters"),
        ("a b", "lower-case letters"),
        ("é", "lower-case letters"),
        ("a\n", "lower-case letters"),
        ("https://a.b/c", "port"),
        ("a.b:x/c", "port"),
        ("a.b:/c", "port"),
        ("[::1]x/c", "port"),
        ("[:1/c", "registry"),
        ("[]:1/c", "IPv6"),
        ("[::g]/c", "IPv6"),
        ("-a.b/c", "host name"),
        ("a..b/c", "host name"),
        ("a_b.c/d", "host name"),
        ("a:", "tag"),
        ("a:.b", "tag"),
        ("a:-b", "tag"),
        ("a:b:c", "tag"),
        ("a:b/c", "port"),
        ("a@sha256:00", "digest"),
        ("a@md5:d41d8cd98f00b204e9800998ecf8427e", "digest"),
        ("a@", "digest"),
    ] {
        assert!(reason(text).contains(words), "{text:?} was refused since {}", reason(text));
    }
}

#[test]
fn lengths_are_bounded() {
    let (most, more) = ("a".repeat(255 - 4), "a".repeat(256 - 4));
    assert!(format!("b.c/{most}").parse::<Reference>().is_ok());
    assert!(reason(&format!("b.c/{more}")).contains("255"));
    assert!(format!("a:{}", "t".repeat(128)).parse::<Reference>().is_ok());
    assert!(reason(&format!("a:{}", "t".repeat(129))).contains("128"));
    let error = "/".repeat(10_000).parse::<Reference>().unwrap_err();
    assert_eq!((error.text.len(), error.kind()), (320, ErrorKind::InvalidArgument));
}

#[test]
fn a_tag_or_a_digest_replaces_both() {
    let digest = Digest::of(b"x");
    let image = "busybox:1".parse::<Reference>().unwrap().with_digest(digest.clone());
    assert_eq!(image.to_string(), format!("docker.io/library/busybox@{digest}"));
    assert_eq!(image.with_tag("2").unwrap().to_string(), "docker.io/library/busybox:2");
    assert_eq!(image.name(), "docker.io/library/busybox");
    assert!(image.with_tag("a/b").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_shown_parses_to_the_same(
        domain in "docker\\.io/|localhost/|[a-z0-9]{1,5}\\.[A-Z]{1,3}(:[0-9]{1,5})?/|\\[::[0-9a-f:]{0,8}\\]/",
        path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,4}){0,3}",
        tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?",
        digest in "(@sha256:[0-9a-f]{64})?",
    ) {
        let image: Reference = format!("{domain}{path}{tag}{digest}").parse().unwrap();
        prop_assert_eq!(image.to_string().parse::<Reference>().unwrap(), image);
    }

    #[test]
    fn any_text_that_is_taken_is_its_own_normal_form_once_shown(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,30}") {
        if let Ok(image) = text.parse::<Reference>() {
            prop_assert_eq!(image.to_string().parse::<Reference>().unwrap(), image);
        }
    }
}
