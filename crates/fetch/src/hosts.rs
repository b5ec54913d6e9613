//! Which hosts serve a registry. Today that is one each; mirrors and containerd's `hosts.toml` find their place here.

use std::net::IpAddr;

use reqwest::Url;

use crate::config::{Config, Scheme};
use crate::{Error, Result};

/// A place where a registry's images can be had.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The registry as references name it: credentials are those of this name.
    pub registry: String,
    /// Where its API begins, such as `https://registry-1.docker.io/v2/`.
    pub base: Url,
}

impl Endpoint {
    /// The endpoints of a registry in the order in which they are to be asked; at least one.
    ///
    /// # Errors
    /// When the registry's name makes no address.
    pub fn of(registry: &str, config: &Config) -> Result<Vec<Self>> {
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let scheme = config.schemes.get(registry).copied().or(config.default_scheme).unwrap_or_else(|| guess(host));
        let base = format!("{}://{host}/v2/", scheme.name());
        let base = Url::parse(&base).map_err(|error| Error::Protocol {
            doing: format!("find registry {registry}"),
            reason: format!("its name makes no address: {error}"),
        })?;
        Ok(vec![Self { registry: registry.to_owned(), base }])
    }
}

fn guess(host: &str) -> Scheme {
    match Url::parse(&format!("http://{host}/")) {
        Ok(url) if is_loopback(&url) => Scheme::Http,
        _ => Scheme::Https,
    }
}

/// True for `localhost`, 127.0.0.0/8 and `::1`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host == "localhost"
        || host.ends_with(".localhost")
        || address(url).is_some_and(|ip| ip.to_canonical().is_loopback())
}

/// True for addresses that only mean something to this machine: loopback, link-local (where clouds keep their secrets)
/// and none.
pub(crate) fn is_local(url: &Url) -> bool {
    let local = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified(),
    };
    is_loopback(url) || address(url).is_some_and(local)
}

fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// `host:port`, for messages and for comparing; the port is always there.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// True when both are the same scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && authority(a) == authority(b)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn base(registry: &str, config: &Config) -> String {
        Endpoint::of(registry, config).unwrap().remove(0).base.to_string()
    }

    #[test]
    fn plain_http_is_for_loopback_and_whoever_asked_for_it() {
        let mut config = Config::default();
        let cases = [
            ("docker.io", "https://registry-1.docker.io/v2/"),
            ("example.com:5000", "https://example.com:5000/v2/"),
            ("localhost:5000", "http://localhost:5000/v2/"),
            ("127.8.8.8:1", "http://127.8.8.8:1/v2/"),
            ("[::1]:5000", "http://[::1]:5000/v2/"),
            ("localhost.example.com", "https://localhost.example.com/v2/"),
        ];
        for (registry, expected) in cases {
            assert_eq!(base(registry, &config), expected);
        }
        config.schemes.insert("localhost:5000".into(), Scheme::Https);
        assert_eq!(base("localhost:5000", &config), "https://localhost:5000/v2/");
        config.default_scheme = Some(Scheme::Http);
        assert_eq!(base("example.com", &config), "http://example.com/v2/");
        assert_eq!(base("localhost:5000", &config), "https://localhost:5000/v2/");
    }

    #[test]
    fn the_names_of_this_machine_are_known() {
        for local in ["http://169.254.169.254/", "http://[fe80::1]/", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/"] {
            assert!(is_local(&Url::parse(local).unwrap()), "{local}");
        }
        assert!(!is_local(&Url::parse("https://10.0.0.1/").unwrap()));
    }
}
