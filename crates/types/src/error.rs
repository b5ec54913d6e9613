//! What went wrong, in the words that clients are answered with.

use std::fmt;

/// The kind of an error. Each maps to one gRPC code; the mapping stands in [`ErrorKind::code`] and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller gave up.
    Cancelled,
    /// Something failed that no better kind describes.
    Unknown,
    /// The request itself is wrong, whatever the state of the system.
    InvalidArgument,
    /// The deadline passed first.
    DeadlineExceeded,
    /// The named object does not exist.
    NotFound,
    /// The named object exists already.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A bound was met: space, memory, message size, queue length.
    ResourceExhausted,
    /// The system is not in the state that the request needs.
    FailedPrecondition,
    /// The operation was given up midway, often for a concurrent one.
    Aborted,
    /// An offset or number beyond what exists.
    OutOfRange,
    /// Not built.
    Unimplemented,
    /// A promise of the system itself was broken.
    Internal,
    /// Not now: trying again may work.
    Unavailable,
    /// Bytes are lost or damaged.
    DataLoss,
    /// The caller did not prove who it is.
    Unauthenticated,
}

impl ErrorKind {
    /// The gRPC status code of this kind (`google.rpc.Code`).
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Cancelled => 1,
            Self::Unknown => 2,
            Self::InvalidArgument => 3,
            Self::DeadlineExceeded => 4,
            Self::NotFound => 5,
            Self::AlreadyExists => 6,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::FailedPrecondition => 9,
            Self::Aborted => 10,
            Self::OutOfRange => 11,
            Self::Unimplemented => 12,
            Self::Internal => 13,
            Self::Unavailable => 14,
            Self::DataLoss => 15,
            Self::Unauthenticated => 16,
        }
    }

    /// The kind of a gRPC status code; codes that nobody defined are [`ErrorKind::Unknown`].
    #[must_use]
    pub fn from_code(code: i32) -> Self {
        match code {
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

    /// The kind that describes an I/O error best.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        match error.kind() {
            Io::NotFound => Self::NotFound,
            Io::AlreadyExists => Self::AlreadyExists,
            Io::PermissionDenied => Self::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge | Io::OutOfMemory => Self::ResourceExhausted,
            Io::TimedOut => Self::DeadlineExceeded,
            Io::ConnectionRefused | Io::ConnectionReset | Io::ConnectionAborted | Io::BrokenPipe => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid argument",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::PermissionDenied => "permission denied",
            Self::ResourceExhausted => "resource exhausted",
            Self::FailedPrecondition => "failed precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out of range",
            Self::Unimplemented => "not implemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data loss",
            Self::Unauthenticated => "unauthenticated",
        })
    }
}

/// An error that knows its kind. Every error type of the workspace implements it.
pub trait Kind: std::error::Error {
    /// The kind that clients are answered with.
    fn kind(&self) -> ErrorKind;
}

/// A boxed error of somebody else, kept as a source.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
