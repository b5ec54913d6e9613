//! Errors to gRPC statuses: the one place where a kind becomes a code.

use tonic::{Code, Status};
use wharf_types::{ErrorKind, Kind};

/// The status that a client is answered with: the error's kind as the code, its own words as the message.
pub(crate) fn refuse<E: Kind>(error: E) -> Status {
    refuse_ref(&error)
}

/// [`refuse`] for an error that is kept.
pub(crate) fn refuse_ref(error: &dyn Kind) -> Status {
    let (kind, message) = (error.kind(), error.to_string());
    if matches!(kind, ErrorKind::Unknown | ErrorKind::Internal | ErrorKind::DataLoss) {
        tracing::warn!(%kind, error = %message, "a call failed");
    } else {
        tracing::debug!(%kind, error = %message, "a call was refused");
    }
    Status::new(Code::from_i32(kind.code()), message)
}

/// What is asked is well understood and not built.
pub(crate) fn unimplemented(sentence: impl Into<String>) -> Status {
    Status::unimplemented(sentence)
}

/// A message that must be there is not.
pub(crate) fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("the request has no {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_of_its_name() {
        #[derive(Debug, thiserror::Error)]
        #[error("because")]
        struct Refusal(ErrorKind);
        impl Kind for Refusal {
            fn kind(&self) -> ErrorKind {
                self.0
            }
        }
        let pairs = [
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::FailedPrecondition, Code::FailedPrecondition),
            (ErrorKind::InvalidArgument, Code::InvalidArgument),
            (ErrorKind::OutOfRange, Code::OutOfRange),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::Unimplemented, Code::Unimplemented),
            (ErrorKind::Aborted, Code::Aborted),
            (ErrorKind::PermissionDenied, Code::PermissionDenied),
            (ErrorKind::ResourceExhausted, Code::ResourceExhausted),
        ];
        for (kind, code) in pairs {
            let status = refuse(Refusal(kind));
            assert_eq!((status.code(), status.message()), (code, "because"));
        }
    }
}
