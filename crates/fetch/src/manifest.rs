//! Indexes and manifests: small documents that are named by tag or digest and read whole.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;
use wharf_types::{Descriptor, Digest, ErrorKind, Reference};

use crate::client::{Call, Client, Payload};
use crate::hosts::{Endpoint, authority};
use crate::{Error, Result, answer};

/// The types that are asked for and taken.
pub const MEDIA_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// True for the types of indexes and manifests.
#[must_use]
pub fn is_manifest(media_type: &str) -> bool {
    MEDIA_TYPES.contains(&media_type)
}

/// Asks one endpoint what a reference stands for: by `HEAD`, and by `GET` where that does not say enough.
pub(crate) async fn resolve(client: &Client, endpoint: &Endpoint, reference: &Reference) -> Result<Descriptor> {
    let name = reference.digest().map(ToString::to_string).or_else(|| reference.tag().map(str::to_owned));
    let name = name.unwrap_or_default();
    let doing = format!("resolve {reference} at {}", authority(&endpoint.base));
    let mut call = call(endpoint, reference, &name, doing);
    call.method = Method::HEAD;
    let head = match client.call(&call).await {
        Ok(response) => described(&response, reference),
        // Refusals of a `HEAD` have no words, and some servers do not know it.
        Err(Error::Refused { kind, .. }) if !matches!(kind, ErrorKind::Unavailable | ErrorKind::Unauthenticated) => {
            None
        }
        Err(error) => return Err(error),
    };
    let limit = client.config.max_manifest;
    match head {
        Some(target) if target.size > limit => Err(Error::TooLarge { doing: call.doing, size: target.size, limit }),
        Some(target) => Ok(target),
        None => {
            call.method = Method::GET;
            let response = client.call(&call).await?;
            let headers = response.headers().clone();
            let body = answer::bounded(response, limit, client.config.timeouts.document, &call.doing).await?;
            descriptor_of(&headers, &body, reference).map_err(|reason| Error::Protocol { doing: call.doing, reason })
        }
    }
}

/// The bytes of a manifest that was resolved.
pub(crate) async fn fetch(
    client: &Client,
    endpoint: &Endpoint,
    reference: &Reference,
    target: &Descriptor,
) -> Result<Bytes> {
    let doing = format!("fetch {} {} from {}", target.media_type, target.digest, authority(&endpoint.base));
    let limit = client.config.max_manifest;
    if target.size > limit {
        return Err(Error::TooLarge { doing, size: target.size, limit });
    }
    let call = call(endpoint, reference, &target.digest.to_string(), doing);
    let response = client.call(&call).await?;
    let kind = media_type(response.headers());
    let body = answer::bounded(response, limit, client.config.timeouts.document, &call.doing).await?;
    let refuse = |reason: String| Error::Protocol { doing: call.doing.clone(), reason };
    if body.len() as u64 != target.size {
        return Err(refuse(format!("{} bytes came, it is said to have {}", body.len(), target.size)));
    }
    if let Some(kind) = kind.filter(|kind| is_manifest(kind) && *kind != target.media_type) {
        return Err(refuse(format!("it came as {kind}")));
    }
    check(&body, Some(&target.media_type)).map_err(refuse)?;
    Ok(body)
}

fn call<'a>(endpoint: &'a Endpoint, reference: &Reference, name: &str, doing: String) -> Call<'a> {
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
    let path = format!("{}/manifests/{name}", reference.repository());
    let scope = format!("repository:{}:pull", reference.repository());
    Call { method: Method::GET, endpoint, path, scope, headers, doing, payload: Payload::Nothing }
}

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// What the headers of an answer to `HEAD` say, if they say all.
fn described(response: &Response, reference: &Reference) -> Option<Descriptor> {
    let headers = response.headers();
    let kind = media_type(headers).filter(|kind| is_manifest(kind))?;
    let digest: Digest = headers.get(DIGEST)?.to_str().ok()?.parse().ok()?;
    let size = headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok().filter(|size| *size > 0)?;
    reference.digest().is_none_or(|wanted| *wanted == digest).then(|| Descriptor::new(kind, digest, size))
}

/// What a body is, once it was verified against all that was said of it.
fn descriptor_of(headers: &HeaderMap, body: &Bytes, reference: &Reference) -> std::result::Result<Descriptor, String> {
    let said = headers.get(DIGEST).map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.parse::<Digest>().map_err(|error| format!("header Docker-Content-Digest: {error}"))
    });
    let wanted = reference.digest().cloned().map(Ok).or(said).transpose()?;
    let digest = match wanted {
        Some(wanted) => {
            let mut hasher = wanted.algorithm().hasher();
            hasher.update(body);
            let actual = hasher.finish();
            if actual != wanted {
                return Err(format!("the digest of what came is {actual}, not {wanted}"));
            }
            actual
        }
        None => Digest::of(body),
    };
    let kind = media_type(headers).filter(|kind| is_manifest(kind));
    let inner = check(body, kind.as_deref())?;
    let kind = kind.or(inner).filter(|kind| is_manifest(kind));
    let kind = kind.ok_or_else(|| {
        let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing");
        format!("what came is neither an image's index nor a manifest; its type is said to be {}", answer::words(said))
    })?;
    Ok(Descriptor::new(kind, digest, body.len() as u64))
}

/// `Content-Type` without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// Refuses documents that two readers could take for two things (CVE-2021-41190), and returns the type that the document
/// gives itself.
fn check(body: &[u8], media_type: Option<&str>) -> std::result::Result<Option<String>, String> {
    let shape: Shape =
        serde_json::from_slice(body).map_err(|error| format!("it is no JSON of an index or a manifest: {error}"))?;
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return Err(
            "it has both manifests and layers or config, and could be taken for an index or for a manifest".into()
        );
    }
    match (media_type, shape.media_type) {
        (Some(outer), Some(inner)) if outer != inner => {
            Err(format!("its mediaType is {:?}, but it came as {outer}", answer::words(&inner)))
        }
        (_, inner) => Ok(inner),
    }
}
