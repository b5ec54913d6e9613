//! Taking answers within bounds of time and size, and telling why one is a refusal.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::timeout;
use wharf_types::ErrorKind;

use crate::{Error, Result};

/// How much of a refusal is read for its words.
const MAX_REFUSAL: u64 = 64 * 1024;

/// How many characters of a registry's words are passed on.
const MAX_WORDS: usize = 300;

/// Why there is no answer. Addresses are left out: they may have signatures in them.
#[derive(Debug)]
pub(crate) struct Cause {
    text: String,
    /// True when there was no connection at all.
    pub(crate) connecting: bool,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}

/// Sends a request and waits for all headers of its answer.
pub(crate) async fn headers(request: RequestBuilder, deadline: Duration, doing: &str) -> Result<Response> {
    match timeout(deadline, request.send()).await {
        Ok(answer) => answer.map_err(|error| transport(doing, error)),
        Err(_) => Err(too_slow(doing, &format!("no answer in {deadline:?}"))),
    }
}

/// The whole body, of at most `limit` bytes.
pub(crate) async fn bounded(mut response: Response, limit: u64, deadline: Duration, doing: &str) -> Result<Bytes> {
    let too_large = |size: u64| Error::TooLarge { doing: doing.to_owned(), size, limit };
    if let Some(size) = response.content_length().filter(|size| *size > limit) {
        return Err(too_large(size));
    }
    let body = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(doing, error))? {
            let size = body.len() as u64 + chunk.len() as u64;
            if size > limit {
                return Err(too_large(size));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    match timeout(deadline, body).await {
        Ok(body) => body,
        Err(_) => Err(too_slow(doing, &format!("the body did not end in {deadline:?}"))),
    }
}

/// An error of HTTP, TLS or the network.
pub(crate) fn transport(doing: &str, error: reqwest::Error) -> Error {
    let connecting = error.is_connect();
    let kind = if error.is_timeout() && !connecting { ErrorKind::DeadlineExceeded } else { ErrorKind::Unavailable };
    let error = error.without_url();
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        // The outer ones say no more than that a request was sent.
        text = error.to_string();
        cause = error.source();
    }
    let mut text = if text.is_empty() { error.to_string() } else { text };
    if text.contains("InvalidContentType") {
        // rustls' word for a server that answers a TLS greeting with something else.
        text = "it does not speak TLS; if it is to be spoken to in plain http, say so".to_owned();
    }
    Error::Transport { doing: doing.to_owned(), kind, source: Box::new(Cause { text: words(&text), connecting }) }
}

/// A deadline that passed.
pub(crate) fn too_slow(doing: &str, what: &str) -> Error {
    let source = Box::new(Cause { text: what.to_owned(), connecting: false });
    Error::Transport { doing: doing.to_owned(), kind: ErrorKind::DeadlineExceeded, source }
}

/// A body that was cut off.
pub(crate) fn cut(doing: &str, what: &str) -> Error {
    let source = Box::new(Cause { text: what.to_owned(), connecting: false });
    Error::Transport { doing: doing.to_owned(), kind: ErrorKind::Unavailable, source }
}

/// What a status means to clients.
pub(crate) fn kind(status: StatusCode) -> ErrorKind {
    match status {
        StatusCode::BAD_REQUEST => ErrorKind::InvalidArgument,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => ErrorKind::Unimplemented,
        StatusCode::RANGE_NOT_SATISFIABLE => ErrorKind::OutOfRange,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::ResourceExhausted,
        status if crate::retry::is_transient(status) => ErrorKind::Unavailable,
        _ => ErrorKind::Unknown,
    }
}

/// The status of a refusal and the server's own words, without `secrets` that it may have echoed.
pub(crate) async fn reason(response: Response, secrets: &[&str], deadline: Duration) -> String {
    let status = response.status();
    let Ok(body) = bounded(response, MAX_REFUSAL, deadline, "").await else { return status.to_string() };
    let mut said = own_words(&body);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        said = said.replace(*secret, "…");
    }
    if said.is_empty() { status.to_string() } else { format!("{status}: {said}") }
}

/// What `errors` of a registry or `details` and `error_description` of a realm say (OCI distribution specification,
/// "Error Codes"; RFC 6749, section 5.2). Pages in HTML say nothing.
fn own_words(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    let text = |value: &serde_json::Value, name: &str| value.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let errors = value.get("errors").and_then(|errors| errors.as_array()).into_iter().flatten();
    let mut said: Vec<String> = errors
        .filter_map(|error| match (text(error, "code"), text(error, "message")) {
            (Some(code), Some(message)) => Some(format!("{code}: {message}")),
            (code, message) => code.or(message),
        })
        .collect();
    said.extend(["details", "error_description", "error"].iter().filter_map(|name| text(&value, name)).take(1));
    words(&said.join("; "))
}

/// Text of a stranger made fit for a log: no control characters, not too long.
pub(crate) fn words(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
