//! Proving who the user is: nothing, a password with each request, or a token from the registry's realm.
//!
//! A user's password goes to two places only. The first is the registry it was given for, over the scheme that was
//! configured. The second is the realm that the registry names for its tokens, when it is the registry's own origin, or
//! when it is reached by HTTPS and *belongs to* the registry: the same host, or a host under the same parent domain (of at
//! least two labels), as `auth.docker.io` is for `registry-1.docker.io` and `gitlab.com` for `registry.gitlab.com`. Docker
//! and containerd send it to any realm. Here other realms have to be named in [`crate::Config::realms`]; without that the
//! pull fails and says so. Anonymous tokens may come from any realm that is as safe as the registry: not by HTTP when the
//! registry speaks HTTPS, and not from this machine's own addresses when the registry is elsewhere, because the answer is
//! handed to the registry.
//!
//! Tokens are kept per registry and scope until shortly before they expire, or until the registry refuses them.

pub(crate) mod challenge;
pub(crate) mod token;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use challenge::Challenge;
use reqwest::Url;
use reqwest::header::HeaderValue;
use wharf_types::ErrorKind;

use crate::config::{Config, Credentials, Secret};
use crate::hosts::{Endpoint, authority, is_local, same_origin};
use crate::{Error, Result};

/// How long a token counts when its realm does not say (Docker: "Token Authentication Specification").
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Remembers what registries took.
#[derive(Default)]
pub(crate) struct Authenticator {
    /// By registry origin and scope.
    known: Mutex<HashMap<(String, String), Known>>,
    /// One request for a token at a time, so that layers that wait for the same one share it. Each has a deadline.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    header: HeaderValue,
    expires: Option<Instant>,
}

impl Authenticator {
    /// What to send in `Authorization`, as far as it is known before the registry asks.
    pub(crate) fn header(&self, endpoint: &Endpoint, scope: &str) -> Option<HeaderValue> {
        let known = self.known();
        let entry = known.get(&key(endpoint, scope))?;
        entry.expires.is_none_or(|expires| expires > Instant::now()).then(|| entry.header.clone())
    }

    /// Answers a refusal with 401: what to send instead of `sent`.
    ///
    /// # Errors
    /// `Unauthenticated` when there is nothing (more) to prove with.
    pub(crate) async fn answer(
        &self,
        http: &reqwest::Client,
        config: &Config,
        endpoint: &Endpoint,
        scope: &str,
        challenges: &[Challenge],
        sent: Option<&HeaderValue>,
    ) -> Result<HeaderValue> {
        let _one = self.asking.lock().await;
        // Somebody else may have asked in the meantime.
        if let Some(header) = self.header(endpoint, scope).filter(|header| Some(header) != sent) {
            return Ok(header);
        }
        self.known().remove(&key(endpoint, scope));
        let credentials = config.credentials.credentials(&endpoint.registry).await?;
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        let known = match (find("bearer"), find("basic"), credentials) {
            (_, _, Some(Credentials::Bearer(token))) => {
                Known { header: secret_header("Bearer", &token)?, expires: None }
            }
            (Some(bearer), _, credentials) => bearer_token(http, config, endpoint, scope, bearer, credentials).await?,
            (None, Some(_), Some(Credentials::Password(user, password))) => {
                Known { header: basic_header(&user, &password)?, expires: None }
            }
            (None, Some(_), _) => {
                return Err(refuse(endpoint, "it wants a user and a password, and none is known for it"));
            }
            (None, None, _) => return Err(refuse(endpoint, "it names no way to authenticate that is known here")),
        };
        if sent == Some(&known.header) {
            return Err(refuse(endpoint, "user or password is wrong"));
        }
        let header = known.header.clone();
        self.known().insert(key(endpoint, scope), known);
        Ok(header)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bearer_token(
    http: &reqwest::Client,
    config: &Config,
    endpoint: &Endpoint,
    scope: &str,
    bearer: &Challenge,
    credentials: Option<Credentials>,
) -> Result<Known> {
    let realm = bearer.parameter("realm").and_then(|realm| Url::parse(realm).ok());
    let realm = realm.ok_or_else(|| refuse(endpoint, "the realm for its tokens is no address"))?;
    check_realm(config, endpoint, &realm, credentials.is_some())?;
    let request = token::Request {
        realm,
        service: bearer.parameter("service").unwrap_or_default().to_owned(),
        scope: token::join_scopes(scope, bearer.parameter("scope").unwrap_or_default()),
        credentials,
    };
    let token = token::request(http, config, endpoint, &request).await?;
    let lifetime = token.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
    // A tenth less, so that it does not expire on its way.
    let expires = Instant::now().checked_add(lifetime.mul_f32(0.9));
    Ok(Known { header: secret_header("Bearer", &token.token)?, expires })
}

/// Whether tokens may be asked for there, and whether a password may go along.
fn check_realm(config: &Config, endpoint: &Endpoint, realm: &Url, with_credentials: bool) -> Result<()> {
    let registry = &endpoint.base;
    if same_origin(realm, registry) {
        return Ok(());
    }
    let host = authority(realm);
    let refused = |why: &str| Err(refuse(endpoint, &format!("its tokens come from {host}, {why}")));
    if !matches!(realm.scheme(), "http" | "https") || !realm.username().is_empty() || realm.password().is_some() {
        return refused("which is no address of a realm");
    }
    if realm.scheme() == "http" && registry.scheme() == "https" {
        return refused("by plain http, which is less safe than the registry");
    }
    if is_local(realm) && !is_local(registry) {
        return refused("which is this machine and not the registry's to name");
    }
    let named = config
        .realms
        .get(&endpoint.registry)
        .is_some_and(|realms| realms.iter().any(|named| *named == host || Some(named.as_str()) == realm.host_str()));
    if with_credentials && !named && !(realm.scheme() == "https" && belongs(realm, registry)) {
        return refused(
            "another host, which does not get this registry's password; name it as a realm of the registry to allow it",
        );
    }
    Ok(())
}

/// True when the realm's host is the registry's, or lies under the registry's parent domain.
fn belongs(realm: &Url, registry: &Url) -> bool {
    let (Some(realm), Some(registry)) = (realm.domain(), registry.domain()) else {
        return realm.host_str() == registry.host_str();
    };
    let under = |parent: &str| realm == parent || realm.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    let parent = registry.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
    under(registry) || parent.is_some_and(under)
}

fn key(endpoint: &Endpoint, scope: &str) -> (String, String) {
    (endpoint.base.to_string(), scope.to_owned())
}

fn refuse(endpoint: &Endpoint, why: &str) -> Error {
    Error::Refused {
        doing: format!("authenticate at {}", authority(&endpoint.base)),
        kind: ErrorKind::Unauthenticated,
        reason: why.to_owned(),
    }
}

pub(crate) fn basic_header(user: &str, password: &Secret) -> Result<HeaderValue> {
    let pair = format!("{user}:{}", password.expose());
    secret_header("Basic", &Secret::new(base64::engine::general_purpose::STANDARD.encode(pair)))
}

fn secret_header(scheme: &str, secret: &Secret) -> Result<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{scheme} {}", secret.expose())).map_err(|_| Error::Protocol {
        doing: format!("send a {} secret", scheme.to_lowercase()),
        reason: "it has characters that cannot be in a header".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allowed(registry: &str, realm: &str, with_credentials: bool, realms: &[&str]) -> bool {
        let base = Url::parse(registry).unwrap();
        let endpoint = Endpoint { registry: authority(&base), base };
        let mut config = Config::default();
        config.realms.insert(endpoint.registry.clone(), realms.iter().map(|realm| (*realm).to_owned()).collect());
        check_realm(&config, &endpoint, &Url::parse(realm).unwrap(), with_credentials).is_ok()
    }

    #[test]
    fn a_password_goes_to_realms_that_belong_to_the_registry() {
        let yes = [
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"),
            ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth"),
            ("https://ghcr.io/v2/", "https://ghcr.io/token"),
            ("https://quay.io/v2/", "https://auth.quay.io/token"),
            ("https://registry.lan:5000/v2/", "https://registry.lan/token"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token"),
        ];
        for (registry, realm) in yes {
            assert!(allowed(registry, realm, true, &[]), "{realm} for {registry}");
        }
        let no = [
            ("https://registry-1.docker.io/v2/", "https://evil.example/token"),
            ("https://registry-1.docker.io/v2/", "https://notdocker.io/token"),
            ("https://ghcr.io/v2/", "https://evil.io/token"),
            ("https://ghcr.io/v2/", "http://ghcr.io/token"),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token"),
        ];
        for (registry, realm) in no {
            assert!(!allowed(registry, realm, true, &[]), "{realm} for {registry}");
        }
        assert!(allowed("https://ghcr.io/v2/", "https://sso.example/token", true, &["sso.example"]));
        assert!(!allowed("https://ghcr.io/v2/", "http://sso.example/token", true, &["sso.example"]));
    }

    #[test]
    fn an_anonymous_token_comes_from_nowhere_less_safe() {
        assert!(allowed("https://ghcr.io/v2/", "https://elsewhere.example/token", false, &[]));
        assert!(allowed("http://127.0.0.1:1/v2/", "http://127.0.0.1:2/token", false, &[]));
        for realm in
            ["http://ghcr.io/token", "https://127.0.0.1/token", "https://169.254.169.254/token", "file:///etc/passwd"]
        {
            assert!(!allowed("https://ghcr.io/v2/", realm, false, &[]), "{realm}");
        }
    }
}
