//! The two halves of a connection, for client and server alike.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use crate::codec::{Decoder, Incoming};

/// Reads frames; memory is taken only once bytes are there.
pub(crate) struct Reader<'a> {
    half: ReadHalf<'a>,
    decoder: Decoder,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(half: ReadHalf<'a>) -> Self {
        Self { half, decoder: Decoder::default() }
    }

    /// The next frame; `None` when the peer is done or what it sends is no ttrpc. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some(incoming) = self.decoder.decode().ok()? {
                return Some(incoming);
            }
            self.half.readable().await.ok()?;
            match self.half.try_read_buf(self.decoder.space()) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

/// Writes frames in their order until nobody can send any more, or the peer is gone.
pub(crate) async fn write_all(mut half: WriteHalf<'_>, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if half.write_all(&frame).await.is_err() {
            return;
        }
    }
}
