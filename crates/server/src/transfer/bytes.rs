//! Streams of bytes beside a transfer: the receiver says how many it will take, the sender sends no more (containerd:
//! `core/transfer/streaming`).

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tonic::Status;
use wharf_api::containerd::types::transfer::{Data, WindowUpdate};

use crate::convert::{any, pack, type_name};
use crate::service::streaming::Open;

/// The most bytes of one message.
const PIECE: usize = 32 * 1024;

/// How many bytes may be on their way here.
const WINDOW: i64 = 64 * 1024;

/// The most bytes that a client is taken at its word to want at once.
const MAX_WINDOW: i64 = 1 << 30;

/// Tells those who wait for a client when nobody waits for them any more: its sender is dropped.
pub(super) type Gone = watch::Receiver<()>;

/// What a client sends. It blocks, and is read on a thread that may.
pub(super) struct Received {
    open: Open,
    gone: Gone,
    runtime: Handle,
    /// What was asked for and has not come.
    window: i64,
    piece: Bytes,
}

impl Received {
    /// Reads from a stream. It is made where the runtime is.
    pub(super) fn new(open: Open, gone: Gone) -> Self {
        Self { open, gone, runtime: Handle::current(), window: 0, piece: Bytes::new() }
    }

    /// The next message's bytes; nothing at the end.
    async fn next(open: &mut Open, gone: &mut Gone, window: &mut i64) -> io::Result<Option<Bytes>> {
        if *window < WINDOW {
            let update = WindowUpdate { update: i32::try_from(WINDOW).unwrap_or(i32::MAX) };
            let update = any(pack("containerd.types.transfer.WindowUpdate", &update));
            // A client that has sent all may be gone: what it sent is still to be read.
            if open.outgoing.send(Ok(update)).await.is_ok() {
                *window += WINDOW;
            }
        }
        let message = tokio::select! {
            message = open.incoming.message() => message.map_err(|status| broken(status.message()))?,
            _ = gone.changed() => return Err(broken("the transfer was given up")),
        };
        let Some(message) = message else { return Ok(None) };
        if type_name(&message.type_url) != "containerd.types.transfer.Data" {
            return Ok(Some(Bytes::new()));
        }
        let data = Data::decode(message.value.as_slice()).map_err(|error| broken(&error.to_string()))?;
        *window -= i64::try_from(data.data.len()).unwrap_or(i64::MAX);
        Ok(Some(data.data.into()))
    }
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !buffer.is_empty() {
            let next = Self::next(&mut self.open, &mut self.gone, &mut self.window);
            match self.runtime.block_on(next)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.split_to(count).copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// What a client takes. It blocks, and is written on a thread that may.
pub(super) struct Sent {
    open: Open,
    gone: Gone,
    runtime: Handle,
    /// How many bytes the client still takes.
    window: i64,
}

impl Sent {
    /// Writes to a stream. It is made where the runtime is.
    pub(super) fn new(open: Open, gone: Gone) -> Self {
        Self { open, gone, runtime: Handle::current(), window: 0 }
    }

    /// Ends the stream with an error, so that nobody takes what came for all. Blocks.
    pub(super) fn fail(self, status: &Status) {
        // Who is gone needs no word.
        let _ = self.runtime.block_on(self.open.outgoing.send(Err(status.clone())));
    }

    async fn send(open: &mut Open, gone: &mut Gone, window: &mut i64, bytes: &[u8]) -> io::Result<usize> {
        while *window <= 0 {
            let message = tokio::select! {
                message = open.incoming.message() => message.map_err(|status| broken(status.message()))?,
                _ = gone.changed() => return Err(broken("the transfer was given up")),
            };
            let message = message.ok_or_else(|| broken("the client closed the stream"))?;
            if type_name(&message.type_url) == "containerd.types.transfer.WindowUpdate" {
                let update = WindowUpdate::decode(message.value.as_slice()).map_err(|e| broken(&e.to_string()))?;
                *window = (*window + i64::from(update.update.max(0))).min(MAX_WINDOW);
            }
        }
        let count = bytes.len().min(PIECE).min(usize::try_from(*window).unwrap_or(PIECE));
        let data = Data { data: bytes.get(..count).unwrap_or_default().to_vec() };
        let data = any(pack("containerd.types.transfer.Data", &data));
        tokio::select! {
            sent = open.outgoing.send(Ok(data)) => sent.map_err(|_| broken("the client closed the stream"))?,
            _ = gone.changed() => return Err(broken("the transfer was given up")),
        }
        *window -= i64::try_from(count).unwrap_or(i64::MAX);
        Ok(count)
    }
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.runtime.block_on(Self::send(&mut self.open, &mut self.gone, &mut self.window, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, format!("the client's stream: {why}"))
}
