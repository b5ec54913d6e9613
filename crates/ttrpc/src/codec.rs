//! Frames without I/O: ten bytes of head, then a message.
//!
//! The head is the message's length and the stream's number, both 32 bits and big-endian, a byte for the kind and one for
//! flags (containerd/ttrpc, PROTOCOL.md).

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message;

use crate::status::Status;

/// The length of a frame's head, in bytes.
pub const HEAD: usize = 10;

/// The most bytes a message may have: 4 MiB.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The sender will send more on this stream.
pub const FLAG_REMOTE_OPEN: u8 = 2;

/// What one read asks for at least, in bytes. Task calls are a few hundred.
const READ: usize = 2048;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call.
    Request,
    /// Its outcome.
    Response,
    /// A part of a stream; no unary call has one.
    Data,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The message's length in bytes.
    pub length: u32,
    /// The stream: odd when the client opened it.
    pub stream: u32,
    /// What the message is.
    pub kind: Kind,
    /// Bits that matter to streams only.
    pub flags: u8,
}

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A whole frame.
    Frame(Head, Bytes),
    /// The head of a frame longer than [`MAX_MESSAGE`]; its message is skipped.
    TooLong(Head),
}

/// Bytes that are no ttrpc: the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ttrpc: a frame of unknown kind {0:#04x}")]
pub struct Garbage(pub u8);

/// Cuts a stream of bytes into frames. It holds memory only while a frame is incomplete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    head: Option<Head>,
    skip: usize,
}

impl Decoder {
    /// Where the next bytes from the wire go; there is room for some. A frame that only claims to be long takes no memory.
    pub fn space(&mut self) -> &mut BytesMut {
        let missing = self.head.map_or(0, |h| (h.length as usize).saturating_sub(self.buffer.len()));
        self.buffer.reserve(missing.min(self.buffer.len()).max(READ));
        &mut self.buffer
    }

    /// The next frame, or `None` until more bytes are there.
    ///
    /// # Errors
    /// [`Garbage`] for a kind that does not exist.
    pub fn decode(&mut self) -> Result<Option<Incoming>, Garbage> {
        let skipped = self.skip.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip -= skipped;
        let head = match self.head {
            Some(head) => head,
            None if self.skip > 0 || self.buffer.len() < HEAD => return Ok(self.incomplete()),
            None => self.read_head()?,
        };
        let length = head.length as usize;
        if length > MAX_MESSAGE {
            self.skip = length;
            return Ok(Some(Incoming::TooLong(head)));
        }
        if self.buffer.len() < length {
            self.head = Some(head);
            return Ok(self.incomplete());
        }
        self.head = None;
        Ok(Some(Incoming::Frame(head, self.buffer.split_to(length).freeze())))
    }

    fn read_head(&mut self) -> Result<Head, Garbage> {
        let (length, stream) = (self.buffer.get_u32(), self.buffer.get_u32());
        let kind = match self.buffer.get_u8() {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Data,
            other => return Err(Garbage(other)),
        };
        Ok(Head { length, stream, kind, flags: self.buffer.get_u8() })
    }

    /// An idle connection keeps no buffer.
    fn incomplete(&mut self) -> Option<Incoming> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        None
    }
}

/// A whole frame of a message.
///
/// # Errors
/// `ResourceExhausted` when the message is longer than [`MAX_MESSAGE`].
pub fn encode(stream: u32, kind: Kind, message: &impl Message) -> Result<Bytes, Status> {
    let size = message.encoded_len();
    let length = u32::try_from(size).ok().filter(|_| size <= MAX_MESSAGE).ok_or_else(|| Status::too_long(size))?;
    let mut frame = BytesMut::with_capacity(HEAD + size);
    frame.put_u32(length);
    frame.put_u32(stream);
    frame.put_u8(match kind {
        Kind::Request => 1,
        Kind::Response => 2,
        Kind::Data => 3,
    });
    frame.put_u8(0);
    message.encode_raw(&mut frame);
    Ok(frame.freeze())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::envelope::Request;

    fn request(size: usize) -> Request {
        Request { service: "s".into(), method: "m".into(), payload: vec![7; size].into(), ..Default::default() }
    }

    fn drain(decoder: &mut Decoder) -> Vec<Incoming> {
        std::iter::from_fn(|| decoder.decode().unwrap()).collect()
    }

    #[test]
    fn the_head_is_as_the_protocol_says() {
        let frame = encode(3, Kind::Request, &request(0)).unwrap();
        assert_eq!(&frame[..], b"\0\0\0\x06\0\0\0\x03\x01\0\x0a\x01s\x12\x01m");
    }

    #[test]
    fn frames_come_out_whole_however_they_are_cut() {
        let mut wire = Vec::new();
        for (stream, size) in [(1, 0), (3, 5), (5, 70_000)] {
            wire.extend_from_slice(&encode(stream, Kind::Request, &request(size)).unwrap());
        }
        for step in [1, 3, 10, 11, 4096, wire.len()] {
            let mut decoder = Decoder::default();
            let mut frames = Vec::new();
            for part in wire.chunks(step) {
                decoder.space().extend_from_slice(part);
                frames.extend(drain(&mut decoder));
            }
            let sizes = frames.iter().map(|frame| match frame {
                Incoming::Frame(head, bytes) => (head.stream, Request::decode(bytes.clone()).unwrap().payload.len()),
                Incoming::TooLong(head) => panic!("{head:?} is too long"),
            });
            assert_eq!(sizes.collect::<Vec<_>>(), [(1, 0), (3, 5), (5, 70_000)], "cut every {step} bytes");
            assert_eq!(decoder.buffer.capacity(), 0, "an idle decoder holds memory");
        }
    }

    #[test]
    fn a_claim_of_length_takes_no_memory() {
        let mut decoder = Decoder::default();
        decoder.space().extend_from_slice(b"\0\x40\0\0\0\0\0\x01\x01\0xx");
        assert_eq!(decoder.decode(), Ok(None));
        assert!(decoder.space().capacity() < 2 * READ);
    }

    #[test]
    fn what_is_too_long_is_skipped_and_the_next_frame_read() {
        let mut wire = Vec::from(*b"\0\x40\0\x01\0\0\0\x01\x01\0");
        wire.resize(wire.len() + MAX_MESSAGE + 1, 9);
        wire.extend_from_slice(&encode(3, Kind::Response, &request(1)).unwrap());
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for part in wire.chunks(10_000) {
            decoder.space().extend_from_slice(part);
            frames.extend(drain(&mut decoder));
        }
        assert!(matches!(frames[0], Incoming::TooLong(Head { stream: 1, .. })));
        assert!(matches!(frames[1], Incoming::Frame(Head { stream: 3, kind: Kind::Response, .. }, _)));
        assert_eq!(frames.len(), 2);
    }

    #[test]
    fn garbage_is_refused() {
        let mut decoder = Decoder::default();
        decoder.space().extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(decoder.decode(), Err(Garbage(b'T')));
    }

    #[test]
    fn a_message_too_long_is_not_sent() {
        let status = encode(1, Kind::Request, &request(MAX_MESSAGE + 1)).unwrap_err();
        assert_eq!(status.code, crate::Code::ResourceExhausted);
    }
}
