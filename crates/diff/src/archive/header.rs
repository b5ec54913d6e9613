//! One header block (POSIX.1-1988 ustar, GNU, STAR, seventh edition).

use super::number::{octal, parse};
use super::{BLOCK, Entry, Kind, Time};

/// Why a block without the right checksum is refused.
pub(super) const NO_HEADER: &str = "its checksum is wrong";

/// Who laid out the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// The fields of a block.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) flag: u8,
    pub(super) size: i64,
    path: Vec<u8>,
    link: Vec<u8>,
    mode: i64,
    uid: i64,
    gid: i64,
    mtime: i64,
    atime: Option<i64>,
    device: (i64, i64),
}

/// Bytes up to the first zero byte.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// `length` bytes of `block` from `at`.
pub(super) fn field(block: &[u8; BLOCK], at: usize, length: usize) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

impl Header {
    /// Reads a block, or says why it is none.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        if !sum_is_right(block) {
            return Err(NO_HEADER);
        }
        let number = |at, length| parse(field(block, at, length)).ok_or("a number that is none or too large");
        let format = format(block);
        let mut header = Self {
            format,
            flag: *block.get(156).unwrap_or(&0),
            path: text(field(block, 0, 100)).to_vec(),
            link: text(field(block, 157, 100)).to_vec(),
            mode: number(100, 8)?,
            uid: number(108, 8)?,
            gid: number(116, 8)?,
            size: number(124, 12)?,
            mtime: number(136, 12)?,
            atime: None,
            device: (0, 0),
        };
        if format != Format::V7 {
            header.device = (number(329, 8)?, number(337, 8)?);
        }
        match format {
            Format::V7 => {}
            Format::Ustar => header.prefix(text(field(block, 345, 155))),
            Format::Star => {
                header.prefix(text(field(block, 345, 131)));
                header.atime = Some(number(476, 12)?);
                number(488, 12)?;
            }
            Format::Gnu => header.gnu(block),
        }
        Ok(header)
    }

    /// Times of GNU's header. Where they are no numbers a Go of before 2016 wrote a prefix over them.
    fn gnu(&mut self, block: &[u8; BLOCK]) {
        let set = |at| field(block, at, 12).first().is_some_and(|b| *b != 0);
        let (atime, ctime) = (parse(field(block, 345, 12)), parse(field(block, 357, 12)));
        if (set(345) && atime.is_none()) || (set(357) && ctime.is_none()) {
            let prefix = text(field(block, 345, 155));
            if prefix.is_ascii() {
                self.prefix(prefix);
            }
        } else if set(345) {
            self.atime = atime;
        }
    }

    fn prefix(&mut self, prefix: &[u8]) {
        if !prefix.is_empty() {
            self.path = [prefix, b"/", &self.path].concat();
        }
    }

    /// The entry that the block by itself describes, its kind and size yet to be settled.
    pub(super) fn into_entry(self) -> Entry {
        let time = |seconds| Time { seconds, nanos: 0 };
        Entry {
            path: self.path,
            link: self.link,
            kind: Kind::Other(self.flag),
            size: 0,
            mode: u32::try_from(self.mode & 0o7777).unwrap_or_default(),
            uid: self.uid,
            gid: self.gid,
            mtime: time(self.mtime),
            atime: self.atime.map(time),
            device: self.device,
            xattrs: Vec::new(),
            segments: None,
        }
    }
}

/// POSIX sums the bytes as unsigned numbers; Sun's tar took them as signed ones.
fn sum_is_right(block: &[u8; BLOCK]) -> bool {
    let Some(wanted) = octal(field(block, 148, 8)) else { return false };
    let (mut unsigned, mut signed) = (0i64, 0i64);
    for (i, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&i) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    wanted == unsigned || wanted == signed
}

fn format(block: &[u8; BLOCK]) -> Format {
    let magic = field(block, 257, 6);
    if magic == b"ustar\0" {
        return if field(block, 508, 4) == b"tar\0" { Format::Star } else { Format::Ustar };
    }
    if magic == b"ustar " && field(block, 263, 2) == b" \0" { Format::Gnu } else { Format::V7 }
}
