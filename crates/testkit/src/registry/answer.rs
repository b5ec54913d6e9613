//! What a request is answered with, before any of it is sent.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use wharf_types::Digest;

use super::{Fault, Request, State, auth, upload};
use crate::image::Blob;

/// An answer, and how it is to be sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    /// What `Content-Length` says where it is not the body's.
    pub(super) length: Option<u64>,
    pub(super) sending: Sending,
}

/// How an answer is sent.
#[derive(Debug, Default)]
pub(super) enum Sending {
    #[default]
    Whole,
    Chunked,
    CutAfter(u64),
    ResetAfter(u64),
    StallAfter(u64),
    Trickle(Duration),
    TrickleHeaders(Duration),
    Never,
    /// The connection is closed.
    Nothing,
    Garbage,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn refusal(status: u16, code: &str) -> Self {
        let body = json!({"errors": [{"code": code, "message": code.to_lowercase()}]}).to_string();
        Self {
            status,
            headers: vec![("content-type", "application/json".into())],
            body: body.into(),
            ..Self::default()
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(key, _)| *key != name);
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn sending(self, sending: Sending) -> Self {
        Self { sending, ..self }
    }
}

/// The answer to a request, with whatever fault is set for it.
pub(super) fn to(state: &mut State, origin: &str, request: &Request, payload: &Bytes) -> Answer {
    let ranged = request.header("range").is_some();
    let fault = state.faults.take(&request.method, &request.path, ranged);
    let range = match &fault {
        Some(Fault::IgnoreRange) => None,
        _ => request.header("range").and_then(parse_range),
    };
    let answer = match fault.as_ref().and_then(|fault| instead(fault, origin, request)) {
        Some(answer) => return answer,
        None => match fault {
            Some(Fault::CutUpload(taken)) => {
                let taken = usize::try_from(taken).unwrap_or(usize::MAX).min(payload.len());
                upload::cut(state, request, payload.get(..taken).unwrap_or_default());
                return Answer::default().sending(Sending::Nothing);
            }
            _ => well_behaved(state, origin, request, range, payload),
        },
    };
    match fault {
        Some(fault) if answer.status < 300 => spoilt(answer, fault),
        _ => answer,
    }
}

/// The answers that have nothing to do with what is there.
fn instead(fault: &Fault, origin: &str, request: &Request) -> Option<Answer> {
    let location = |status: u16, to: String| Some(Answer::status(status).with("location", to));
    match fault {
        Fault::Status(status) => Some(Answer::status(*status)),
        Fault::RetryAfter(status, after) => Some(Answer::status(*status).with("retry-after", after)),
        Fault::NoAnswer => Some(Answer::default().sending(Sending::Never)),
        Fault::Garbage => Some(Answer::default().sending(Sending::Garbage)),
        Fault::Redirect(status, to) => location(*status, format!("{to}{}", request.path)),
        Fault::RedirectTo(status, to) => location(*status, to.clone()),
        Fault::RedirectLoop => location(307, format!("{origin}{}", request.path)),
        Fault::Body(kind, body) => {
            Some(Answer { body: body.clone(), ..Answer::status(200) }.with("content-type", *kind))
        }
        Fault::Zeros(size) => {
            let body = Bytes::from(vec![0; usize::try_from(*size).unwrap_or(0)]);
            Some(Answer { body, ..Answer::status(200) }.with("content-type", crate::image::media::OCI_MANIFEST))
        }
        _ => None,
    }
}

fn spoilt(mut answer: Answer, fault: Fault) -> Answer {
    let kept = |body: &Bytes, fewer: u64| {
        body.slice(..body.len().saturating_sub(usize::try_from(fewer).unwrap_or(usize::MAX)))
    };
    match fault {
        Fault::WrongBytes => {
            let mut body = answer.body.to_vec();
            if let Some(last) = body.last_mut() {
                *last ^= 1;
            }
            answer.body = body.into();
        }
        Fault::Truncated(fewer) => answer.body = kept(&answer.body, fewer),
        Fault::TooLong(more) => {
            let mut body = answer.body.to_vec();
            body.resize(body.len() + usize::try_from(more).unwrap_or(0), b'x');
            answer.body = body.into();
        }
        Fault::ContentLength(length) => answer.length = Some(length),
        Fault::WrongContentRange => {
            let moved = answer.headers.iter().find(|(name, _)| *name == "content-range").and_then(|(_, value)| {
                let (from, rest) = value.strip_prefix("bytes ")?.split_once('-')?;
                Some(format!("bytes {}-{rest}", from.parse::<u64>().ok()? + 1))
            });
            answer = answer.with("content-range", moved.unwrap_or_default());
        }
        Fault::ContentType(kind) => answer = answer.with("content-type", kind),
        Fault::DigestHeader(digest) => answer = answer.with("docker-content-digest", digest),
        Fault::Chunked => answer.sending = Sending::Chunked,
        Fault::CutAfter(bytes) => answer.sending = Sending::CutAfter(bytes),
        Fault::ResetAfter(bytes) => answer.sending = Sending::ResetAfter(bytes),
        Fault::StallAfter(bytes) => answer.sending = Sending::StallAfter(bytes),
        Fault::Trickle(pause) => answer.sending = Sending::Trickle(pause),
        Fault::TrickleHeaders(pause) => answer.sending = Sending::TrickleHeaders(pause),
        _ => {}
    }
    answer
}

fn well_behaved(
    state: &mut State,
    origin: &str,
    request: &Request,
    range: Option<(u64, Option<u64>)>,
    payload: &Bytes,
) -> Answer {
    if request.path == "/token" {
        let (status, body) = auth::token(&state.auth, &mut state.tokens, request);
        return Answer { body: body.into(), ..Answer::status(status) }.with("content-type", "application/json");
    }
    if let Some(challenge) = auth::challenge(&state.auth, &state.tokens, origin, request) {
        return Answer::refusal(401, "UNAUTHORIZED").with("www-authenticate", challenge);
    }
    if let Some(answer) = upload::answer(state, request, payload) {
        return answer;
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return Answer::refusal(405, "UNSUPPORTED");
    }
    if request.path == "/v2/" || request.path == "/v2" {
        return Answer { body: "{}".into(), ..Answer::status(200) };
    }
    let path = request.path.strip_prefix("/v2/").unwrap_or_default();
    if let Some((repository, name)) = path.rsplit_once("/manifests/") {
        let tagged = state.tags.get(&(repository.to_owned(), name.to_owned())).cloned();
        let digest = tagged.or_else(|| name.parse().ok());
        return match digest.and_then(|digest| find(state, repository, digest)) {
            Some(blob) => Answer { body: blob.bytes.clone(), ..Answer::status(200) }
                .with("content-type", &blob.media_type)
                .with("docker-content-digest", blob.digest.to_string()),
            None => Answer::refusal(404, "MANIFEST_UNKNOWN"),
        };
    }
    if let Some((repository, name)) = path.rsplit_once("/blobs/") {
        return match name.parse().ok().and_then(|digest| find(state, repository, digest)) {
            Some(blob) => part(blob, range),
            None => Answer::refusal(404, "BLOB_UNKNOWN"),
        };
    }
    Answer::refusal(404, "NAME_UNKNOWN")
}

fn find<'a>(state: &'a State, repository: &str, digest: Digest) -> Option<&'a Blob> {
    state.blobs.get(&(repository.to_owned(), digest))
}

/// A blob, or the part that a `Range` asks for (RFC 9110, section 14).
fn part(blob: &Blob, range: Option<(u64, Option<u64>)>) -> Answer {
    let size = blob.bytes.len() as u64;
    let whole = Answer::status(200).with("content-type", "application/octet-stream");
    let whole = whole.with("docker-content-digest", blob.digest.to_string()).with("accept-ranges", "bytes");
    let Some((from, to)) = range else { return Answer { body: blob.bytes.clone(), ..whole } };
    if from >= size {
        return Answer::status(416).with("content-range", format!("bytes */{size}"));
    }
    let to = to.unwrap_or(u64::MAX).min(size - 1);
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let answer = Answer { status: 206, body: blob.bytes.slice(index(from)..index(to + 1)), ..whole };
    answer.with("content-range", format!("bytes {from}-{to}/{size}"))
}

/// `bytes=FROM-` or `bytes=FROM-TO`; everything else is as good as no range.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = value.strip_prefix("bytes=")?.split_once('-')?;
    let from = from.parse().ok()?;
    match to {
        "" => Some((from, None)),
        to => to.parse().ok().filter(|to| *to >= from).map(|to| (from, Some(to))),
    }
}
