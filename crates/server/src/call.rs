//! What every call brings in its metadata: the namespace, and a lease.

use tonic::metadata::MetadataMap;
use tonic::{Request, Status};
use wharf_types::{Id, Namespace};

use crate::refuse::refuse;

/// The metadata key of the namespace.
pub(crate) const NAMESPACE: &str = "containerd-namespace";

/// The metadata key of the lease.
const LEASE: &str = "containerd-lease";

/// In whose name a call is made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The namespace.
    pub(crate) namespace: Namespace,
    /// The lease that holds what the call makes.
    pub(crate) lease: Option<String>,
}

impl Call {
    /// Reads the metadata of a request.
    ///
    /// # Errors
    /// `FailedPrecondition` without a namespace; `InvalidArgument` for one that is no identifier.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        Ok(Self { namespace: namespace(request.metadata())?, lease: lease(request.metadata())? })
    }
}

fn namespace(metadata: &MetadataMap) -> Result<Namespace, Status> {
    match text(metadata, NAMESPACE)? {
        Some(name) if !name.is_empty() => name.parse().map_err(refuse),
        _ => Err(Status::failed_precondition(format!("namespace is required: set {NAMESPACE} in the call's metadata"))),
    }
}

fn lease(metadata: &MetadataMap) -> Result<Option<String>, Status> {
    Ok(text(metadata, LEASE)?.filter(|lease| !lease.is_empty()).map(str::to_owned))
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Result<Option<&'a str>, Status> {
    let refused = |_| Status::invalid_argument(format!("metadata {key}: not printable ASCII"));
    metadata.get(key).map(|value| value.to_str().map_err(refused)).transpose()
}

/// Checks an identifier that a client chose.
pub(crate) fn id(text: &str) -> Result<Id, Status> {
    text.parse().map_err(refuse)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic::Code;

    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Result<Call, Status> {
        let mut request = Request::new(());
        for (key, value) in pairs {
            request.metadata_mut().insert(*key, value.parse().unwrap());
        }
        Call::of(&request)
    }

    #[test]
    fn a_namespace_is_needed() {
        for pairs in [&[][..], &[(NAMESPACE, "")]] {
            let status = of(pairs).unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert!(status.message().starts_with("namespace is required"));
        }
        assert_eq!(of(&[(NAMESPACE, "../x")]).unwrap_err().code(), Code::InvalidArgument);
    }

    #[test]
    fn a_lease_may_be_named() {
        assert_eq!(of(&[(NAMESPACE, "k8s.io")]).unwrap().lease, None);
        let call = of(&[(NAMESPACE, "k8s.io"), (LEASE, "0-ab__")]).unwrap();
        assert_eq!((call.namespace.as_str(), call.lease.as_deref()), ("k8s.io", Some("0-ab__")));
    }
}
