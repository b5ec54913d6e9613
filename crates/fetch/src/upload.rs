//! The upload of one blob: all of it in one request, and after a cut the rest in pieces.
//!
//! A registry says with each answer where the next request goes (`Location`). That may be another host, which then gets
//! the bytes but no proof of who the user is; it may not be a less safe place than the registry itself.

use std::sync::Arc;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, Url};
use wharf_types::{Descriptor, ErrorKind, Kind as _};

use crate::client::{Payload, check_redirect};
use crate::hosts::authority;
use crate::push::RegistryPusher;
use crate::retry::Tries;
use crate::sending::Sending;
use crate::{Error, Result, Source};

/// How much is sent at once where not all is, in bytes.
const PIECE: u64 = 16 * 1024 * 1024;

/// The most bytes that a registry may ask to have in one piece.
const MAX_PIECE: u64 = 1024 * 1024 * 1024;

const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// An upload under way.
pub(crate) struct Upload<'a> {
    pusher: &'a RegistryPusher,
    target: &'a Descriptor,
    source: Arc<dyn Source>,
    doing: String,
    /// Where the next request goes.
    location: Url,
    /// How many bytes the registry has.
    offset: u64,
    /// How much is sent at once; nothing to send all of it with the request that ends the upload.
    piece: Option<u64>,
    /// The least that the registry wants to have at once.
    least: u64,
}

impl<'a> Upload<'a> {
    /// Begins an upload, or goes on with one that has `begun` by this answer.
    pub(crate) async fn new(
        pusher: &'a RegistryPusher,
        target: &'a Descriptor,
        source: Arc<dyn Source>,
        begun: Option<Response>,
    ) -> Result<Self> {
        let (doing, location) = (pusher.doing(target), pusher.endpoint.base.clone());
        let mut upload = Self { pusher, target, source, doing, location, offset: 0, piece: None, least: 1 };
        match begun {
            Some(response) => upload.moved(&response)?,
            None => upload.begin().await?,
        }
        Ok(upload)
    }

    /// Sends until all is there. What fails in passing is tried again from where the registry stands.
    pub(crate) async fn run(mut self) -> Result<()> {
        let retries = self.pusher.client.config.retries;
        let mut tries = Tries::new(retries);
        let (mut mark, mut cuts) = (0, 0);
        loop {
            let Err(error) = self.send().await else { return Ok(()) };
            let too_large = error.kind() == ErrorKind::ResourceExhausted && self.piece.is_none();
            let moved = error.kind() == ErrorKind::OutOfRange;
            let passing = matches!(error, Error::Transport { .. }) || error.kind() == ErrorKind::Unavailable;
            self.piece = Some(PIECE.max(self.least));
            if too_large || moved {
                self.begin().await?;
            } else if passing {
                self.find().await?;
            }
            if self.offset.saturating_sub(mark) >= retries.progress {
                (mark, cuts) = (self.offset, 0);
                tries = Tries::new(retries);
            }
            cuts += 1;
            if !(passing || too_large || moved) || cuts > retries.cuts || !tries.pause(None).await {
                return Err(error);
            }
            tracing::debug!(doing = self.doing, offset = self.offset, cuts, %error, "cut off, going on");
        }
    }

    /// Sends what is missing.
    async fn send(&mut self) -> Result<()> {
        if let Some(piece) = self.piece {
            while self.offset < self.target.size {
                self.patch(piece.min(self.target.size - self.offset)).await?;
            }
        }
        let mut end = self.location.clone();
        end.query_pairs_mut().append_pair("digest", &self.target.digest.to_string());
        let rest = self.target.size - self.offset;
        let (source, offset) = (self.source.clone(), self.offset);
        let sending = move || Sending::new(source.read(offset), rest);
        let mut call = self.pusher.call(Method::PUT, end.as_str(), self.doing.clone());
        if rest > 0 {
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            call.payload = Payload::Stream(&sending);
        } else {
            call.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        self.pusher.client.call(&call).await.map(drop)
    }

    /// Sends a piece.
    async fn patch(&mut self, length: u64) -> Result<()> {
        let (source, offset) = (self.source.clone(), self.offset);
        let sending = move || Sending::new(source.read(offset), length);
        let mut call = self.pusher.call(Method::PATCH, self.location.as_str(), self.doing.clone());
        let range = format!("{offset}-{}", offset + length - 1);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).expect("numbers are text"));
        call.payload = Payload::Stream(&sending);
        let response = self.pusher.client.call(&call).await?;
        self.moved(&response)?;
        // What it does not tell is what it was sent.
        self.offset = self.stands(&response)?.unwrap_or(offset + length);
        if self.offset <= offset {
            return Err(self.refuse("the registry took nothing of what was sent"));
        }
        Ok(())
    }

    /// Begins, with nothing sent.
    async fn begin(&mut self) -> Result<()> {
        let mut call = self.pusher.call(Method::POST, "blobs/uploads/", self.doing.clone());
        call.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.pusher.client.call(&call).await?;
        (self.location, self.offset) = (self.pusher.endpoint.base.clone(), 0);
        self.moved(&response)
    }

    /// Asks where the registry stands; begins again where it does not know.
    async fn find(&mut self) -> Result<()> {
        let call = self.pusher.call(Method::GET, self.location.as_str(), self.doing.clone());
        match self.pusher.client.call(&call).await {
            Ok(response) => {
                self.offset = self.stands(&response)?.unwrap_or(0);
                // Not every registry says again where it goes on.
                if response.headers().contains_key(LOCATION) { self.moved(&response) } else { Ok(()) }
            }
            Err(Error::Refused { kind, .. }) if kind != ErrorKind::Unauthenticated => self.begin().await,
            Err(error) => Err(error),
        }
    }

    /// Takes from an answer where the next request goes.
    fn moved(&mut self, response: &Response) -> Result<()> {
        let headers = response.headers();
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let next = location.and_then(|location| response.url().join(location).ok());
        let next = next.ok_or_else(|| self.refuse("the registry does not say where the bytes go"))?;
        check_redirect(&self.pusher.endpoint.base, &next)
            .map_err(|why| self.refuse(&format!("the bytes are to go to {}, {why}", authority(&next))))?;
        self.location = next;
        let least = headers.get(MIN_LENGTH).and_then(|least| least.to_str().ok()?.parse().ok());
        self.least = least.unwrap_or(self.least).clamp(1, MAX_PIECE);
        Ok(())
    }

    /// How many bytes an answer says that the registry has: `Range: 0-N`, which some write `bytes=0-N`. That it has none can
    /// only be said like that it has one.
    fn stands(&self, response: &Response) -> Result<Option<u64>> {
        let Some(range) = response.headers().get(RANGE).and_then(|range| range.to_str().ok()) else { return Ok(None) };
        let last = range.trim_start_matches("bytes=").strip_prefix("0-").and_then(|last| last.parse::<u64>().ok());
        let count = last.map(|last| if last == 0 { 0 } else { last.saturating_add(1) });
        match count.filter(|count| *count <= self.target.size) {
            // A blob of one byte that is there.
            Some(0) if self.target.size == 1 && response.status().as_u16() == 202 => Ok(Some(1)),
            Some(count) => Ok(Some(count)),
            None => Err(self.refuse(&format!("the registry says that it has {:?}", crate::answer::words(range)))),
        }
    }

    fn refuse(&self, reason: &str) -> Error {
        Error::Protocol { doing: self.doing.clone(), reason: reason.to_owned() }
    }
}
