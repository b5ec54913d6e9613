//! Taking blobs and manifests (OCI distribution specification, "Push").

use std::collections::hash_map::Entry;

use bytes::Bytes;
use wharf_types::Digest;

use super::answer::Answer;
use super::{Request, State};
use crate::image::Blob;

/// The answer to a request that pushes; nothing to all others.
pub(super) fn answer(state: &mut State, request: &Request, payload: &Bytes) -> Option<Answer> {
    let path = request.path.strip_prefix("/v2/")?;
    if let Some((repository, session)) = path.rsplit_once("/blobs/uploads/") {
        return Some(match (request.method.as_str(), session.parse::<u64>()) {
            ("POST", _) if session.is_empty() => begin(state, repository, request),
            ("GET", Ok(number)) => stands(state, repository, number, 204),
            ("PATCH", Ok(number)) => patch(state, repository, number, request, payload),
            ("PUT", Ok(number)) => end(state, repository, number, request, payload),
            _ => Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN"),
        });
    }
    match path.rsplit_once("/manifests/") {
        Some((repository, name)) if request.method == "PUT" => {
            Some(manifest(state, repository, name, request, payload))
        }
        _ => None,
    }
}

/// Takes a part of what a request brings, whose connection is cut then.
pub(super) fn cut(state: &mut State, request: &Request, part: &[u8]) {
    let number = request.path.rsplit_once('/').and_then(|(_, number)| number.parse().ok());
    if let Some(upload) = number.and_then(|number: u64| state.uploads.get_mut(&number)) {
        upload.extend_from_slice(part);
    }
}

fn begin(state: &mut State, repository: &str, request: &Request) -> Answer {
    let asked = |name: &str| {
        request.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    if let (Some(digest), Some(from)) = (asked("mount").and_then(|digest| digest.parse::<Digest>().ok()), asked("from"))
        && let Some(blob) = state.blobs.get(&(from, digest)).cloned()
    {
        return keep(state, repository, blob, "blobs");
    }
    let number = state.uploads.len() as u64;
    state.uploads.insert(number, Vec::new());
    stands(state, repository, number, 202)
}

/// Where an upload stands and goes on: `Location` is a path, as it may be.
fn stands(state: &State, repository: &str, number: u64, status: u16) -> Answer {
    let Some(upload) = state.uploads.get(&number) else { return Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN") };
    let range = format!("0-{}", upload.len().saturating_sub(1));
    Answer::status(status)
        .with("location", format!("/v2/{repository}/blobs/uploads/{number}?state={}", upload.len()))
        .with("range", range)
}

fn patch(state: &mut State, repository: &str, number: u64, request: &Request, payload: &Bytes) -> Answer {
    if state.max_piece.is_some_and(|most| payload.len() > most) {
        return Answer::refusal(413, "SIZE_INVALID");
    }
    let Some(upload) = state.uploads.get_mut(&number) else { return Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN") };
    let from = request.header("content-range").and_then(|range| range.split_once('-')?.0.parse::<usize>().ok());
    if from.is_some_and(|from| from != upload.len()) {
        return Answer::refusal(416, "RANGE_INVALID");
    }
    upload.extend_from_slice(payload);
    stands(state, repository, number, 202)
}

fn end(state: &mut State, repository: &str, number: u64, request: &Request, payload: &Bytes) -> Answer {
    if state.max_piece.is_some_and(|most| payload.len() > most) {
        return Answer::refusal(413, "SIZE_INVALID");
    }
    let named = request.query.split('&').find_map(|pair| pair.strip_prefix("digest="));
    // What an address may not have in its query is written in hexadecimal.
    let named = named.map(|digest| digest.replace("%3A", ":"));
    let Entry::Occupied(upload) = state.uploads.entry(number) else {
        return Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let mut bytes = upload.remove();
    bytes.extend_from_slice(payload);
    // The number is not given out again.
    state.uploads.insert(number, Vec::new());
    let blob = Blob::new("application/octet-stream", bytes);
    if named.as_deref() != Some(blob.digest.to_string().as_str()) {
        return Answer::refusal(400, "DIGEST_INVALID");
    }
    keep(state, repository, blob, "blobs")
}

/// Takes a manifest, if everything that it names is there.
fn manifest(state: &mut State, repository: &str, name: &str, request: &Request, payload: &Bytes) -> Answer {
    let blob = Blob::new(request.header("content-type").unwrap_or_default(), payload.clone());
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload) else {
        return Answer::refusal(400, "MANIFEST_INVALID");
    };
    let lists = ["manifests", "layers"].iter().filter_map(|list| value.get(list)?.as_array()).flatten();
    for child in lists.chain(value.get("config")) {
        let digest = child.get("digest").and_then(|digest| digest.as_str()?.parse::<Digest>().ok());
        if !digest.is_some_and(|digest| state.blobs.contains_key(&(repository.to_owned(), digest))) {
            return Answer::refusal(400, "MANIFEST_BLOB_UNKNOWN");
        }
    }
    match name.parse::<Digest>() {
        Ok(digest) if digest != blob.digest => return Answer::refusal(400, "DIGEST_INVALID"),
        Ok(_) => {}
        Err(_) => drop(state.tags.insert((repository.to_owned(), name.to_owned()), blob.digest.clone())),
    }
    keep(state, repository, blob, "manifests")
}

fn keep(state: &mut State, repository: &str, blob: Blob, place: &str) -> Answer {
    let answer = Answer::status(201)
        .with("location", format!("/v2/{repository}/{place}/{}", blob.digest))
        .with("docker-content-digest", blob.digest.to_string());
    state.blobs.insert((repository.to_owned(), blob.digest.clone()), blob);
    answer
}
