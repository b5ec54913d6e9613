use super::*;

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn many_words_mean_one_platform() {
    for (text, normal) in [
        ("linux/amd64", "linux/amd64"),
        ("Linux/x86_64", "linux/amd64"),
        ("linux/x86-64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
        ("linux/riscv64", "linux/riscv64"),
        ("unknown/unknown", "unknown/unknown"),
    ] {
        assert_eq!(platform(text).to_string(), normal, "{text}");
        assert_eq!(platform(normal), platform(text));
    }
}

#[test]
fn one_word_is_completed_with_the_host() {
    let host = Platform::host();
    assert_eq!(platform("linux"), Platform { os: "linux".into(), ..host.clone() });
    assert_eq!(platform("s390x"), Platform::new(&host.os, "s390x", ""));
    assert_eq!(platform(&host.to_string()), host);
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    assert_eq!(host.to_string(), "linux/amd64");
}

#[test]
fn what_is_no_platform_is_refused() {
    for text in ["", "/", "linux/", "/amd64", "linux/amd64/v1/x", "*", "linux/*", "linux amd64", "vax"] {
        let error = text.parse::<Platform>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}

#[test]
fn each_processor_runs_its_elders_the_nearest_first() {
    for (here, order) in [
        ("linux/amd64", "linux/amd64 linux/386"),
        ("linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386"),
        ("linux/arm64", "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2 linux/arm64/v8.1 linux/arm64 linux/arm/v8"),
        ("linux/arm64/v9.1", "linux/arm64/v9.1 linux/arm64/v9 linux/arm64/v8.6 linux/arm64/v8.5 linux/arm64/v8.1"),
        ("linux/arm/v6", "linux/arm/v6 linux/arm/v5"),
        ("linux/riscv64", "linux/riscv64"),
    ] {
        let ranks: Vec<_> = order.split(' ').map(|offered| platform(here).rank(&platform(offered)).unwrap()).collect();
        assert!(ranks.is_sorted_by(|one, next| one < next) && ranks.first() == Some(&0), "{here}: {ranks:?}");
    }
}

#[test]
fn what_does_not_run_has_no_rank() {
    for (here, offered) in [
        ("linux/amd64", "linux/amd64/v2"),
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64", "linux/arm64"),
        ("linux/386", "linux/amd64"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v9"),
        ("linux/amd64", "unknown/unknown"),
        ("linux/amd64/v4000000000", "linux/amd64/v3"),
    ] {
        assert_eq!(platform(here).rank(&platform(offered)), None, "{offered} on {here}");
    }
    let needs = Platform { os_features: vec!["sse4".into()], ..platform("linux/amd64") };
    assert_eq!(platform("linux/amd64").rank(&needs), None);
    assert_eq!(needs.rank(&platform("linux/amd64")), Some(0));
    let version = |version: &str| Platform { os_version: version.into(), ..platform("windows/amd64") };
    assert_eq!(version("10.0.1").rank(&version("10.0.2")), None);
    assert_eq!(version("10.0.1").rank(&version("")), Some(0));
}

#[test]
fn the_best_is_chosen_whatever_the_order() {
    let choose = |wanted: &[&str], offered: &[&str]| {
        let wanted: Vec<_> = wanted.iter().map(|text| platform(text)).collect();
        // A dash has no platform.
        let offered = offered.iter().map(|text| (*text, text.parse::<Platform>().ok()));
        best(&wanted, offered, |(_, platform)| platform.as_ref()).map(|(text, _)| text.to_owned())
    };
    assert_eq!(choose(&["linux/amd64"], &["linux/386", "linux/arm64", "linux/x86_64"]).unwrap(), "linux/x86_64");
    assert_eq!(choose(&["linux/amd64/v3"], &["linux/amd64", "linux/amd64/v2"]).unwrap(), "linux/amd64/v2");
    assert_eq!(choose(&["linux/arm64"], &["linux/arm/v6", "linux/arm/v7"]).unwrap(), "linux/arm/v7");
    assert_eq!(choose(&["linux/s390x", "linux/amd64"], &["linux/amd64", "linux/386"]).unwrap(), "linux/amd64");
    assert_eq!(choose(&["linux/arm64", "linux/amd64"], &["linux/amd64", "linux/arm/v5"]).unwrap(), "linux/arm/v5");
    assert_eq!(choose(&["linux/amd64"], &["-", "linux/386"]).unwrap(), "linux/386");
    assert_eq!(choose(&["linux/amd64"], &["linux/arm64", "-"]).unwrap(), "-");
    assert_eq!(choose(&["linux/amd64"], &["linux/arm64"]), None);
    assert_eq!(choose(&[], &["linux/arm64"]), None);
}

#[test]
fn odd_json_is_a_platform_that_nothing_runs() {
    let odd: Platform = serde_json::from_str(r#"{"os.features":null,"variant":null,"new":1}"#).unwrap();
    assert_eq!(odd, Platform::default());
    assert_eq!(Platform::host().rank(&odd), None);
    let host = Platform::host();
    assert_eq!(serde_json::from_str::<Platform>(&serde_json::to_string(&host).unwrap()).unwrap(), host);
}
