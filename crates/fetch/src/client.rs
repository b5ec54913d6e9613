//! One request to a registry: authenticated, redirected, tried again.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use wharf_types::ErrorKind;

use crate::auth::{Authenticator, challenge};
use crate::config::Config;
use crate::hosts::{Endpoint, authority, is_local, is_loopback, same_origin};
use crate::retry::{self, Tries};
use crate::sending::Sending;
use crate::{Error, Result, answer};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// How often a request is authenticated again: once for what expired, once for what was never known.
const MAX_CHALLENGES: usize = 2;

/// Speaks HTTP/1.1 to registries and to where they redirect.
pub(crate) struct Client {
    pub(crate) config: Config,
    /// For hosts elsewhere, through a proxy if the environment names one.
    outer: reqwest::Client,
    /// For this machine's own addresses, which no proxy could reach.
    inner: reqwest::Client,
    auth: Authenticator,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) endpoint: &'a Endpoint,
    /// Below `/v2/`; or a whole address, which gets no proof of who the user is unless it is the registry's own origin.
    pub(crate) path: String,
    /// What a token has to allow.
    pub(crate) scope: String,
    pub(crate) headers: HeaderMap,
    /// For messages: what is being done, to what, at which host.
    pub(crate) doing: String,
    pub(crate) payload: Payload<'a>,
}

/// What a request brings.
pub(crate) enum Payload<'a> {
    Nothing,
    Bytes(Bytes),
    /// Bytes that are read anew for each time that the request is sent. Only who knows what the registry has taken of them can
    /// send them again: they are sent once, and once more when the registry wants to know who sends them.
    Stream(&'a (dyn Fn() -> Sending + Sync)),
}

impl Client {
    pub(crate) fn new(config: Config) -> Result<Self> {
        let build = |proxied: bool| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls())
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(config.timeouts.connect)
                .user_agent(&config.user_agent);
            let builder = if proxied { builder } else { builder.no_proxy() };
            builder.build().map_err(|error| answer::transport("prepare for registries", error))
        };
        Ok(Self { outer: build(true)?, inner: build(false)?, auth: Authenticator::default(), config })
    }

    fn http(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url) { &self.inner } else { &self.outer }
    }

    /// Sends a request until it is answered with success.
    ///
    /// # Errors
    /// By the answer's status; `Unavailable` and `DeadlineExceeded` without one.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Response> {
        let mut tries = Tries::new(self.config.retries);
        let mut challenges = 0;
        loop {
            let sent = self.auth.header(call.endpoint, &call.scope);
            let (response, own) = match self.follow(call, sent.as_ref()).await {
                Ok(answered) => answered,
                Err(error) if retry::may_help(&error) && !call.once() => match tries.pause(None).await {
                    true => continue,
                    false => return Err(error),
                },
                Err(error) => return Err(error),
            };
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if status == StatusCode::UNAUTHORIZED && own && challenges < MAX_CHALLENGES {
                challenges += 1;
                let offered = offered(response.headers());
                drop(response);
                let http = self.http(&call.endpoint.base);
                self.auth.answer(http, &self.config, call.endpoint, &call.scope, &offered, sent.as_ref()).await?;
                continue;
            }
            if retry::is_transient(status) && !call.once() && tries.pause(retry::retry_after(response.headers())).await
            {
                tracing::debug!(doing = call.doing, %status, "tried again");
                continue;
            }
            return Err(self.refusal(call, response, sent.as_ref()).await);
        }
    }

    async fn refusal(&self, call: &Call<'_>, response: Response, sent: Option<&HeaderValue>) -> Error {
        let kind = answer::kind(response.status());
        let secret = sent.and_then(|header| header.to_str().ok()).and_then(|header| header.split_once(' '));
        let secrets: Vec<&str> = secret.into_iter().map(|(_, secret)| secret).collect();
        let mut reason = answer::reason(response, &secrets, self.config.timeouts.document).await;
        if kind == ErrorKind::Unauthenticated {
            // Registries do not tell strangers whether a private repository exists.
            reason.push_str("; it does not exist, or is not for this user");
        }
        Error::Refused { doing: call.doing.clone(), kind, reason }
    }

    /// The answer at the end of all redirects, and whether it came from the registry itself. What proves who the user is
    /// goes to the registry's own origin only, and no longer once a redirect has left it.
    async fn follow(&self, call: &Call<'_>, proof: Option<&HeaderValue>) -> Result<(Response, bool)> {
        let malformed = |reason: String| Error::Protocol { doing: call.doing.clone(), reason };
        let base = &call.endpoint.base;
        let mut url = base.join(&call.path).map_err(|error| malformed(format!("no address: {error}")))?;
        let mut own = true;
        for _ in 0..=MAX_REDIRECTS {
            own = own && same_origin(&url, base);
            let mut request = self.http(&url).request(call.method.clone(), url.clone());
            request = request.headers(call.headers.clone()).header(ACCEPT_ENCODING, "identity");
            if own {
                request = request.headers(self.own_headers());
                request =
                    proof.into_iter().fold(request, |request, proof| request.header(AUTHORIZATION, proof.clone()));
            }
            let response = self.send(call, request).await?;
            if !call.follows(response.status()) {
                return Ok((response, own));
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok());
            let next = next.ok_or_else(|| malformed(format!("{} redirects to no address", authority(&url))))?;
            check_redirect(&url, &next)
                .map_err(|why| malformed(format!("{} redirects to {}, {why}", authority(&url), authority(&next))))?;
            url = next;
        }
        Err(malformed(format!("more than {MAX_REDIRECTS} redirects")))
    }

    async fn send(&self, call: &Call<'_>, request: reqwest::RequestBuilder) -> Result<Response> {
        let timeouts = &self.config.timeouts;
        match &call.payload {
            Payload::Nothing => answer::headers(request, timeouts.headers, &call.doing).await,
            Payload::Bytes(bytes) => answer::headers(request.body(bytes.clone()), timeouts.document, &call.doing).await,
            Payload::Stream(sending) => {
                let Sending { body, length, watch } = sending();
                watch.over(request.header(CONTENT_LENGTH, length).body(body), timeouts, &call.doing).await
            }
        }
    }

    fn own_headers(&self) -> HeaderMap {
        let pairs = self.config.headers.iter();
        pairs.filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?))).collect()
    }
}

impl Call<'_> {
    /// Whether an answer is a redirect to follow. What changes something is only sent elsewhere by those that say to send it again.
    fn follows(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            307 | 308 => true,
            301..=303 => matches!(self.method, Method::GET | Method::HEAD),
            _ => false,
        }
    }

    fn once(&self) -> bool {
        matches!(self.payload, Payload::Stream(_))
    }
}

/// A registry says where its blobs are, but not that they are in places that only this machine can reach, and not in
/// less safe ones.
pub(crate) fn check_redirect(from: &Url, to: &Url) -> std::result::Result<(), &'static str> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err("which is neither http nor https");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return Err("from https to plain http");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("with a user of its own");
    }
    if is_local(to) && !is_local(from) {
        return Err("which is this machine");
    }
    Ok(())
}

fn offered(headers: &HeaderMap) -> Vec<challenge::Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(challenge::parse).collect()
}

/// TLS with the system's certificate authorities. Where there are none, HTTPS fails and says that the issuer is unknown;
/// plain HTTP works all the same.
fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!("no certificate authorities found on this system: registries cannot be trusted over https");
    }
    // The provider is named here, so that no other part of the program can change it.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.expect("ring has ciphers for TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_nothing_less_safe() {
        let check = |from: &str, to: &str| check_redirect(&Url::parse(from).unwrap(), &Url::parse(to).unwrap()).is_ok();
        assert!(check("https://registry.example/v2/", "https://cdn.example/blob?signature=x"));
        assert!(check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/blob"));
        for to in [
            "http://registry.example/v2/",
            "https://user:pw@cdn.example/",
            "ftp://cdn.example/",
            "https://127.0.0.1/",
            "https://localhost:10250/",
            "https://169.254.169.254/latest",
            "https://[::1]/",
        ] {
            assert!(!check("https://registry.example/v2/", to), "{to}");
        }
    }
}
