//! The resolver of registries.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use wharf_types::{Descriptor, ErrorKind, Kind as _, Reference};

use crate::client::Client;
use crate::config::Config;
use crate::hosts::Endpoint;
use crate::push::RegistryPusher;
use crate::{ByteStream, Error, Fetcher, Pusher, Resolver, Result, blob, manifest};

/// Resolves references at the registries that they name. One for a program is enough: it keeps connections and tokens.
#[derive(Clone)]
pub struct RegistryResolver {
    client: Arc<Client>,
}

impl RegistryResolver {
    /// A resolver with this configuration.
    ///
    /// # Errors
    /// When HTTP cannot be prepared for.
    pub fn new(config: Config) -> Result<Self> {
        Ok(Self { client: Arc::new(Client::new(config)?) })
    }
}

#[async_trait]
impl Resolver for RegistryResolver {
    async fn resolve(&self, reference: &Reference) -> Result<Descriptor> {
        let mut last = None;
        for endpoint in Endpoint::of(reference.registry(), &self.client.config)? {
            match manifest::resolve(&self.client, &endpoint, reference).await {
                Ok(target) => return Ok(target),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| nowhere(reference)))
    }

    fn fetcher(&self, reference: &Reference) -> Result<Arc<dyn Fetcher>> {
        let endpoints = Endpoint::of(reference.registry(), &self.client.config)?;
        Ok(Arc::new(RegistryFetcher { client: self.client.clone(), endpoints, reference: reference.clone() }))
    }

    fn pusher(&self, reference: &Reference) -> Result<Arc<dyn Pusher>> {
        // Of the hosts that serve a registry the last is its own; the others are mirrors, which take nothing.
        let endpoint = Endpoint::of(reference.registry(), &self.client.config)?.pop();
        let endpoint = endpoint.ok_or_else(|| nowhere(reference))?;
        Ok(Arc::new(RegistryPusher { client: self.client.clone(), endpoint, reference: reference.clone() }))
    }
}

/// Fetches from one repository.
#[derive(Clone)]
pub(crate) struct RegistryFetcher {
    pub(crate) client: Arc<Client>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) reference: Reference,
}

#[async_trait]
impl Fetcher for RegistryFetcher {
    async fn fetch(&self, target: &Descriptor, offset: u64) -> Result<ByteStream> {
        if !manifest::is_manifest(&target.media_type) {
            return blob::open(self.clone(), target, offset).await;
        }
        let endpoint = self.endpoints.first().ok_or_else(|| nowhere(&self.reference))?;
        let mut tries = crate::retry::Tries::new(self.client.config.retries);
        let body = loop {
            match manifest::fetch(&self.client, endpoint, &self.reference, target).await {
                Ok(body) => break body,
                // The body was cut off; refusals were tried again before.
                Err(error @ Error::Transport { .. }) if error.kind() == ErrorKind::Unavailable => {
                    if !crate::retry::may_help(&error) || !tries.pause(None).await {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let rest =
            usize::try_from(offset).ok().filter(|offset| *offset <= body.len()).map(|offset| body.slice(offset..));
        let rest: Bytes = rest.ok_or_else(|| Error::OutOfRange {
            doing: format!("fetch {} of {}", target.digest, self.reference.name()),
            offset,
            size: target.size,
        })?;
        Ok(Box::pin(stream::iter((!rest.is_empty()).then_some(Ok(rest)))))
    }
}

fn nowhere(reference: &Reference) -> Error {
    Error::Protocol { doing: format!("find {reference}"), reason: "no host serves its registry".to_owned() }
}
