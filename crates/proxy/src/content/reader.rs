//! A blob of a foreign store, read as one stream for as long as reads follow one another.

use std::sync::{Mutex, PoisonError};

use tonic::{Response, Streaming};
use wharf_api::containerd::services::content::v1 as api;
use wharf_content::{Reader, Result};
use wharf_types::Digest;

use super::ProxyContent;
use crate::Refusal;
use crate::convert::signed;

/// An open blob. Its stream is opened with it, so that the plugin knows of the reader when the blob is deleted.
pub(super) struct BlobReader {
    store: ProxyContent,
    digest: Digest,
    size: u64,
    stream: Mutex<Option<Stream>>,
}

/// A stream of bytes, and where the next of them lies.
struct Stream {
    messages: Streaming<api::ReadContentResponse>,
    /// What came and was not read.
    left: Vec<u8>,
    /// Where in `left` the next byte is.
    at: usize,
    offset: u64,
}

impl BlobReader {
    pub(super) fn open(store: ProxyContent, digest: &Digest, size: u64) -> Result<Self> {
        let reader = Self { store, digest: digest.clone(), size, stream: Mutex::new(None) };
        let stream = reader.stream_at(0)?;
        Ok(Self { stream: Mutex::new(Some(stream)), ..reader })
    }

    fn doing(&self) -> String {
        format!("read content {}", self.digest)
    }

    fn stream_at(&self, offset: u64) -> Result<Stream> {
        let message = api::ReadContentRequest { digest: self.digest.to_string(), offset: signed(offset), size: 0 };
        let (mut client, request) = (self.store.client(), self.store.plugin.request(message));
        let opened = async move { client.read(request).await.map(Response::into_inner) };
        let messages = self.store.plugin.wait(self.doing(), opened).map_err(|refusal| refusal.blob(&self.digest))?;
        Ok(Stream { messages, left: Vec::new(), at: 0, offset })
    }

    /// The stream with bytes in hand.
    fn fill(&self, mut stream: Stream) -> Result<Stream> {
        while stream.left.len() <= stream.at {
            let Stream { mut messages, offset, .. } = stream;
            let next = async move { messages.message().await.map(|next| (next, messages)) };
            let (next, messages) =
                self.store.plugin.wait(self.doing(), next).map_err(|refusal| refusal.blob(&self.digest))?;
            let Some(next) = next else {
                let reason = format!("the bytes end at {offset}, of {} that were promised", self.size);
                return Err(Refusal::odd(&self.store.plugin, self.doing(), reason).content());
            };
            stream = Stream { messages, left: next.data.into(), at: 0, offset };
        }
        Ok(stream)
    }
}

impl Reader for BlobReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if buffer.is_empty() || offset >= self.size {
            return Ok(0);
        }
        let mut open = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken while it is waited for: a stream that failed is not used again.
        let stream = match open.take().filter(|stream| stream.offset == offset) {
            Some(stream) => stream,
            None => self.stream_at(offset)?,
        };
        let mut stream = self.fill(stream)?;
        let ready = stream.left.get(stream.at..).unwrap_or_default();
        let count = ready.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(ready) {
            *to = *from;
        }
        stream.at += count;
        stream.offset += count as u64;
        *open = Some(stream);
        Ok(count)
    }
}
