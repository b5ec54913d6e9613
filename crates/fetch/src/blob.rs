//! Blobs: long streams that go on after a cut.

use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use wharf_types::{Descriptor, ErrorKind, Kind as _};

use crate::client::{Call, Payload};
use crate::hosts::authority;
use crate::resolver::RegistryFetcher;
use crate::retry::Tries;
use crate::{ByteStream, Error, Result, answer};

/// A blob on its way.
struct Blob {
    fetcher: RegistryFetcher,
    target: Descriptor,
    doing: String,
    /// Where the next byte belongs.
    offset: u64,
    /// The body, and how many bytes of it come before `offset`.
    body: Option<(Response, u64)>,
    /// False once `Range` was refused.
    ranges: bool,
    /// How often it was cut since it last made progress.
    cuts: u32,
    /// Where it stood when it last made progress.
    mark: u64,
    waited: Duration,
    arrived: u64,
}

/// Opens a blob at an offset.
pub(crate) async fn open(fetcher: RegistryFetcher, target: &Descriptor, offset: u64) -> Result<ByteStream> {
    let host = fetcher.endpoints.first().map(|endpoint| authority(&endpoint.base)).unwrap_or_default();
    let doing = format!("fetch {} from {host}", target.digest);
    if offset > target.size {
        return Err(Error::OutOfRange { doing, offset, size: target.size });
    }
    let mut blob = Blob {
        fetcher,
        target: target.clone(),
        doing,
        offset,
        body: None,
        ranges: true,
        cuts: 0,
        mark: offset,
        waited: Duration::ZERO,
        arrived: 0,
    };
    if offset < target.size {
        // So that a blob that cannot be had is the caller's error and not the stream's.
        blob.connect().await?;
    }
    Ok(Box::pin(stream::try_unfold(blob, |mut blob| async move {
        let chunk = blob.next().await?;
        Ok(chunk.map(|chunk| (chunk, blob)))
    })))
}

impl Blob {
    /// The next bytes, whatever has to be opened again for them; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.offset < self.target.size || self.body.is_some() {
            let error = match self.read().await {
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                Ok(Some(chunk)) => return Ok(Some(chunk)),
                Ok(None) if self.offset == self.target.size => return Ok(None),
                Ok(None) => answer::cut(&self.doing, &self.so_far("ended")),
                Err(error) => error,
            };
            self.body = None;
            self.allow_cut(error)?;
        }
        Ok(None)
    }

    /// Counts a cut, and returns its error when there were too many without progress.
    fn allow_cut(&mut self, error: Error) -> Result<()> {
        let passing = matches!(error, Error::Transport { .. }) || error.kind() == ErrorKind::Unavailable;
        let retries = self.fetcher.client.config.retries;
        if self.offset - self.mark >= retries.progress {
            (self.mark, self.cuts) = (self.offset, 0);
        }
        self.cuts += 1;
        if !passing || self.cuts > retries.cuts {
            return Err(error);
        }
        tracing::debug!(doing = self.doing, offset = self.offset, cuts = self.cuts, %error, "cut off, going on");
        Ok(())
    }

    /// Reads from the body that is open, or opens one.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if self.body.is_none() {
            let mut tries = Tries::new(self.fetcher.client.config.retries);
            if self.cuts > 1 {
                tries.pause(None).await;
            }
            self.connect().await?;
        }
        let chunk = self.chunk().await?;
        let Some((_, skip)) = self.body.as_mut() else { return Ok(None) };
        let Some(mut chunk) = chunk else { return Ok(None) };
        let skipped = (*skip).min(chunk.len() as u64);
        *skip -= skipped;
        let _ = chunk.split_to(usize::try_from(skipped).unwrap_or(chunk.len()));
        self.offset += chunk.len() as u64;
        if self.offset > self.target.size {
            let reason = format!("more bytes come than the {} that it is said to have", self.target.size);
            return Err(Error::Protocol { doing: self.doing.clone(), reason });
        }
        Ok(Some(chunk))
    }

    /// The next bytes of the body, if they come fast enough.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let Some((response, _)) = self.body.as_mut() else { return Ok(None) };
        let timeouts = self.fetcher.client.config.timeouts;
        let begun = Instant::now();
        let chunk = timeout(timeouts.stall.saturating_sub(self.waited), response.chunk()).await;
        self.waited += begun.elapsed();
        let stalled = chunk.is_err();
        if let Ok(Ok(Some(chunk))) = &chunk {
            self.arrived += chunk.len() as u64;
        }
        if stalled || self.waited >= timeouts.stall {
            let arrived = std::mem::take(&mut self.arrived);
            self.waited = Duration::ZERO;
            if arrived < timeouts.stall_bytes {
                return Err(answer::too_slow(
                    &self.doing,
                    &self.so_far(&format!("{arrived} bytes in {:?}", timeouts.stall)),
                ));
            }
        }
        match chunk {
            Ok(chunk) => chunk.map_err(|error| answer::transport(&self.doing, error)),
            // Slow, but not too slow.
            Err(_) => Ok(Some(Bytes::new())),
        }
    }

    fn so_far(&self, what: &str) -> String {
        format!("{what} after {} of {} bytes", self.offset, self.target.size)
    }

    /// Asks for the bytes from `offset` on.
    async fn connect(&mut self) -> Result<()> {
        (self.waited, self.arrived) = (Duration::ZERO, 0);
        let (client, repository) = (&self.fetcher.client, self.fetcher.reference.repository());
        let Some(endpoint) = self.fetcher.endpoints.first() else { return Ok(()) };
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
        if self.offset > 0 && self.ranges {
            headers.insert(RANGE, HeaderValue::try_from(format!("bytes={}-", self.offset)).expect("a number is text"));
        }
        let call = Call {
            method: Method::GET,
            endpoint,
            path: format!("{repository}/blobs/{}", self.target.digest),
            scope: format!("repository:{repository}:pull"),
            headers,
            doing: self.doing.clone(),
            payload: Payload::Nothing,
        };
        let response = match client.call(&call).await {
            Err(error) if error.kind() == ErrorKind::OutOfRange && self.offset > 0 && self.ranges => {
                self.ranges = false;
                return Box::pin(self.connect()).await;
            }
            response => response?,
        };
        let skip = begin(&response, self.offset, self.target.size)
            .map_err(|reason| Error::Protocol { doing: self.doing.clone(), reason })?;
        self.body = Some((response, skip));
        Ok(())
    }
}

/// How many bytes of the body come before `offset`. Refuses what is not the rest of a blob of `size` bytes.
fn begin(response: &Response, offset: u64, size: u64) -> std::result::Result<u64, String> {
    let headers = response.headers();
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err("it comes in an encoding that was not asked for".to_owned());
    }
    let (from, to) = match response.status() {
        StatusCode::OK => (0, size),
        StatusCode::PARTIAL_CONTENT => {
            let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
            match parse_content_range(range) {
                Some((from, to, total)) if from == offset && to <= size && total.is_none_or(|total| total == size) => {
                    (from, to)
                }
                _ => {
                    return Err(format!(
                        "bytes from {offset} of {size} were asked for, {:?} come",
                        answer::words(range)
                    ));
                }
            }
        }
        other => return Err(format!("answered with {other}")),
    };
    match response.content_length() {
        Some(length) if length != to - from => Err(format!("{length} bytes come, {} were expected", to - from)),
        _ => Ok(offset - from),
    }
}

/// `bytes FROM-TO/SIZE` or `bytes FROM-TO/*` (RFC 9110, section 14.4), as the half-open range and the size.
fn parse_content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse::<u64>().ok()?.checked_add(1)?);
    (from < to).then_some((from, to, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 2-4/10"), Some((2, 5, Some(10))));
        assert_eq!(parse_content_range("bytes 2-4/*"), Some((2, 5, None)));
        for text in
            ["", "bytes", "bytes */10", "bytes 4-2/10", "bytes 0-18446744073709551615/*", "items 1-2/3", "bytes -1-2/3"]
        {
            assert_eq!(parse_content_range(text), None, "{text}");
        }
    }
}
