//! Pushing to one repository (OCI distribution specification, "Push").

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use wharf_types::{Descriptor, ErrorKind, Kind as _, Reference};

use crate::client::{Call, Client, Payload};
use crate::hosts::{Endpoint, authority};
use crate::manifest::DIGEST;
use crate::upload::Upload;
use crate::{Error, Pushed, Pusher, Result, Source};

/// Of how many repositories it is asked whether a blob may be taken from them.
const MAX_MOUNTS: usize = 3;

/// Pushes to one repository.
#[derive(Clone)]
pub(crate) struct RegistryPusher {
    pub(crate) client: Arc<Client>,
    pub(crate) endpoint: Endpoint,
    pub(crate) reference: Reference,
}

#[async_trait]
impl Pusher for RegistryPusher {
    async fn blob(&self, target: &Descriptor, repositories: &[String], source: Arc<dyn Source>) -> Result<Pushed> {
        if self.has(target, &format!("blobs/{}", target.digest)).await?.is_some() {
            return Ok(Pushed::Exists);
        }
        let others = repositories.iter().filter(|other| *other != self.reference.repository());
        let mut begun = None;
        for other in others.take(MAX_MOUNTS) {
            match self.mount(target, other).await? {
                Some(response) if response.status() == StatusCode::CREATED => {
                    return Ok(Pushed::Mounted(other.clone()));
                }
                // Not that, but an upload has begun.
                begins => begun = begins.or(begun),
            }
        }
        Upload::new(self, target, source, begun).await?.run().await.map(|()| Pushed::Sent)
    }

    async fn manifest(&self, target: &Descriptor, bytes: Bytes, named: bool) -> Result<Pushed> {
        let name = self.name(target, named)?;
        let path = format!("manifests/{name}");
        if self.has(target, &path).await?.flatten().is_some_and(|found| found == target.digest.to_string()) {
            return Ok(Pushed::Exists);
        }
        let mut call = self.call(Method::PUT, &path, self.doing(target));
        let kind = HeaderValue::try_from(&target.media_type).map_err(|_| Error::Refused {
            doing: self.doing(target),
            kind: ErrorKind::InvalidArgument,
            reason: "its media type cannot be in a header".to_owned(),
        })?;
        call.headers.insert(CONTENT_TYPE, kind);
        call.payload = Payload::Bytes(bytes);
        let response = self.client.call(&call).await?;
        match digest_of(&response) {
            Some(other) if other != target.digest.to_string() => {
                let reason = format!("the registry says that it took {}", crate::answer::words(&other));
                Err(Error::Protocol { doing: call.doing, reason })
            }
            _ => Ok(Pushed::Sent),
        }
    }
}

impl RegistryPusher {
    pub(crate) fn doing(&self, target: &Descriptor) -> String {
        format!("push {} to {}", target.digest, authority(&self.endpoint.base))
    }

    /// A request about something in the repository; `path` is below it, or a whole address.
    pub(crate) fn call<'a>(&'a self, method: Method, path: &str, doing: String) -> Call<'a> {
        let repository = self.reference.repository();
        let path = if path.contains("://") { path.to_owned() } else { format!("{repository}/{path}") };
        let scope = format!("repository:{repository}:pull,push");
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        Call { method, endpoint: &self.endpoint, path, scope, headers, doing, payload: Payload::Nothing }
    }

    /// What a manifest is called in the registry.
    fn name(&self, target: &Descriptor, named: bool) -> Result<String> {
        let digest = target.digest.to_string();
        if !named {
            return Ok(digest);
        }
        match self.reference.digest() {
            Some(other) if *other != target.digest => Err(Error::Refused {
                doing: format!("push {digest} as {}", self.reference),
                kind: ErrorKind::InvalidArgument,
                reason: "the name has another digest".to_owned(),
            }),
            _ => Ok(self.reference.tag().map_or(digest, str::to_owned)),
        }
    }

    /// Whether the repository has something, and its digest as far as the registry tells it.
    async fn has(&self, target: &Descriptor, path: &str) -> Result<Option<Option<String>>> {
        let mut call = self.call(Method::HEAD, path, self.doing(target));
        if let Ok(kind) = HeaderValue::try_from(&target.media_type) {
            call.headers.insert(ACCEPT, kind);
        }
        match self.client.call(&call).await {
            Ok(response) => Ok(Some(digest_of(&response))),
            // Storage that a registry redirects to may refuse a `HEAD`: what cannot be seen is sent.
            Err(Error::Refused { kind, .. })
                if !matches!(kind, ErrorKind::Unavailable | ErrorKind::Unauthenticated) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks the registry to take a blob from another of its repositories. Nothing where it does not want to.
    async fn mount(&self, target: &Descriptor, other: &str) -> Result<Option<Response>> {
        let path = format!("blobs/uploads/?mount={}&from={other}", target.digest);
        let mut call = self.call(Method::POST, &path, self.doing(target));
        call.scope = format!("{} repository:{other}:pull", call.scope);
        match self.client.call(&call).await {
            Ok(response) => Ok(Some(response)),
            // The user may not see that repository, or the registry cannot mount: the blob is sent instead.
            Err(error @ Error::Refused { .. }) if error.kind() != ErrorKind::Unavailable => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn digest_of(response: &Response) -> Option<String> {
    response.headers().get(DIGEST)?.to_str().ok().map(str::to_owned)
}
