//! Asking a realm for a token (Docker: "Token Authentication Specification" and "Token Authentication using OAuth2").

use reqwest::header::AUTHORIZATION;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use wharf_types::ErrorKind;

use super::basic_header;
use crate::config::{Config, Credentials, Secret};
use crate::hosts::{Endpoint, authority};
use crate::{Error, Result, answer, retry};

/// The most bytes that a realm's answer may have.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Who says in logs of a realm which program asked.
const CLIENT_ID: &str = "wharf";

/// What is asked of a realm.
pub(crate) struct Request {
    pub(crate) realm: Url,
    pub(crate) service: String,
    /// With spaces between several.
    pub(crate) scope: String,
    pub(crate) credentials: Option<Credentials>,
}

/// What a realm gave.
pub(crate) struct Token {
    pub(crate) token: Secret,
    /// In seconds.
    pub(crate) expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Gets a token: by `GET`, or by `POST` for a refresh token and for realms that know nothing else.
///
/// # Errors
/// `Unauthenticated` when the realm refuses; `Unavailable` when it cannot be reached.
pub(crate) async fn request(
    http: &reqwest::Client,
    config: &Config,
    endpoint: &Endpoint,
    request: &Request,
) -> Result<Token> {
    let doing = format!("get a token for {} from {}", authority(&endpoint.base), authority(&request.realm));
    let response = match &request.credentials {
        Some(Credentials::Refresh(token)) => {
            let fields = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
            send(config, &doing, || Ok(post(http, request, &fields))).await?
        }
        credentials => {
            let response = send(config, &doing, || get(http, request)).await?;
            match (response.status(), credentials) {
                (
                    StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED,
                    Some(Credentials::Password(user, password)),
                ) => {
                    let fields = [("grant_type", "password"), ("username", user), ("password", password.expose())];
                    send(config, &doing, || Ok(post(http, request, &fields))).await?
                }
                _ => response,
            }
        }
    };
    if response.status() != StatusCode::OK {
        return Err(refusal(config, &doing, request, response).await);
    }
    let body = answer::bounded(response, MAX_ANSWER, config.timeouts.document, &doing).await?;
    let refuse = |reason: &str| Error::Protocol { doing: doing.clone(), reason: reason.to_owned() };
    // serde_json's own words may quote the token.
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_| refuse("the answer is no JSON with a token in it"))?;
    let token =
        answer.token.filter(|token| !token.is_empty()).or(answer.access_token).filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| refuse("the answer has no token in it"))?;
    Ok(Token { token: Secret::new(token), expires_in: answer.expires_in.filter(|seconds| *seconds > 0) })
}

/// What we need, and what the registry asks for that is not in it already.
pub(crate) fn join_scopes(ours: &str, theirs: &str) -> String {
    let covers = |ours: &str, theirs: &str| match (ours.rsplit_once(':'), theirs.rsplit_once(':')) {
        (Some((mine, have)), Some((its, wanted))) => {
            mine == its && wanted.split(',').all(|action| have.split(',').any(|one| one == action))
        }
        _ => ours == theirs,
    };
    let more =
        theirs.split(' ').filter(|theirs| !theirs.is_empty() && !ours.split(' ').any(|ours| covers(ours, theirs)));
    let all: Vec<&str> = ours.split(' ').chain(more).filter(|scope| !scope.is_empty()).collect();
    all.join(" ")
}

fn get(http: &reqwest::Client, request: &Request) -> Result<RequestBuilder> {
    let scopes = request.scope.split(' ').map(|scope| ("scope", scope));
    let query = [("service", request.service.as_str())].into_iter().chain(scopes);
    let query: Vec<(&str, &str)> = query.filter(|(_, value)| !value.is_empty()).collect();
    let builder = http.get(request.realm.clone()).query(&query);
    Ok(match &request.credentials {
        Some(Credentials::Password(user, password)) => builder.header(AUTHORIZATION, basic_header(user, password)?),
        _ => builder,
    })
}

fn post(http: &reqwest::Client, request: &Request, fields: &[(&str, &str)]) -> RequestBuilder {
    let common = [("service", request.service.as_str()), ("scope", request.scope.as_str()), ("client_id", CLIENT_ID)];
    let fields: Vec<(&str, &str)> = common.iter().chain(fields).copied().collect();
    http.post(request.realm.clone()).form(&fields)
}

/// Redirects are not followed: a password would go along.
async fn send(config: &Config, doing: &str, build: impl Fn() -> Result<RequestBuilder>) -> Result<reqwest::Response> {
    let mut tries = retry::Tries::new(config.retries);
    loop {
        match answer::headers(build()?, config.timeouts.headers, doing).await {
            Ok(response) if retry::is_transient(response.status()) => {
                if !tries.pause(retry::retry_after(response.headers())).await {
                    return Ok(response);
                }
            }
            Ok(response) => return Ok(response),
            Err(error) => {
                if !retry::may_help(&error) || !tries.pause(None).await {
                    return Err(error);
                }
            }
        }
    }
}

async fn refusal(config: &Config, doing: &str, request: &Request, response: reqwest::Response) -> Error {
    let status = response.status();
    let secrets: Vec<&str> = match &request.credentials {
        Some(Credentials::Password(_, secret) | Credentials::Refresh(secret) | Credentials::Bearer(secret)) => {
            vec![secret.expose()]
        }
        None => Vec::new(),
    };
    let kind = match status {
        StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => ErrorKind::Unauthenticated,
        other => answer::kind(other),
    };
    let reason = answer::reason(response, &secrets, config.timeouts.document).await;
    Error::Refused { doing: doing.to_owned(), kind, reason }
}

#[cfg(test)]
mod tests {
    use super::join_scopes;

    #[test]
    fn of_scopes_the_wider_one_is_asked_for() {
        let push = "repository:a/b:pull,push";
        assert_eq!(join_scopes(push, "repository:a/b:pull"), push);
        assert_eq!(join_scopes(push, ""), push);
        assert_eq!(join_scopes("repository:a:pull", "repository:b:pull"), "repository:a:pull repository:b:pull");
        assert_eq!(join_scopes("repository:a:pull", "repository:a:pull,push registry:catalog:*").split(' ').count(), 3);
    }
}
