//! How a call failed: gRPC's codes, and words.

use std::fmt;

/// The meaning of a status, numbered as in `google.rpc.Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum Code {
    /// No failure.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// Something failed that no better code describes.
    Unknown = 2,
    /// The request itself is wrong.
    InvalidArgument = 3,
    /// The deadline passed first.
    DeadlineExceeded = 4,
    /// The named object does not exist.
    NotFound = 5,
    /// The named object exists already.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A bound was met.
    ResourceExhausted = 8,
    /// The system is not in the state that the request needs.
    FailedPrecondition = 9,
    /// Given up midway.
    Aborted = 10,
    /// Beyond what exists.
    OutOfRange = 11,
    /// Not built.
    Unimplemented = 12,
    /// A promise of the system itself was broken.
    Internal = 13,
    /// Not now: trying again may work.
    Unavailable = 14,
    /// Bytes are lost or damaged.
    DataLoss = 15,
    /// The caller did not prove who it is.
    Unauthenticated = 16,
}

impl Code {
    /// The code of a number; numbers that nobody defined are [`Code::Unknown`].
    #[must_use]
    pub fn from_i32(code: i32) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            6 => Self::AlreadyExists,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }
}

impl From<Code> for i32 {
    fn from(code: Code) -> Self {
        code as Self
    }
}

/// Why a call failed. It prints as its words alone: the code is for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What a program acts on.
    pub code: Code,
    /// What a person reads.
    pub message: String,
}

impl Status {
    /// A status of a code and words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a handler answers to a method that it does not have, in the words of Go's server.
    #[must_use]
    pub fn unknown_method(method: &str) -> Self {
        Self::new(Code::Unimplemented, format!("method {method}"))
    }

    /// The connection has ended.
    #[must_use]
    pub(crate) fn closed() -> Self {
        Self::new(Code::Unavailable, "ttrpc: closed")
    }

    /// A message is longer than [`crate::codec::MAX_MESSAGE`].
    #[must_use]
    pub(crate) fn too_long(length: usize) -> Self {
        let max = crate::codec::MAX_MESSAGE;
        Self::new(Code::ResourceExhausted, format!("ttrpc: a message of {length} bytes exceeds the maximum of {max}"))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() { write!(f, "{:?}", self.code) } else { f.write_str(&self.message) }
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_numbers() {
        for number in 0..=16 {
            assert_eq!(i32::from(Code::from_i32(number)), number);
        }
        assert_eq!(Code::from_i32(17), Code::Unknown);
        assert_eq!(Code::from_i32(-1), Code::Unknown);
    }
}
