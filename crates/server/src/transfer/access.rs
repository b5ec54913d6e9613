//! How a client wants a registry to be asked, and the credentials it gives when it is asked for them.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::Mutex;
use tonic::{Status, async_trait};
use wharf_api::containerd::types::transfer::{AuthRequest, AuthResponse, AuthType, RegistryResolver};
use wharf_fetch::{CredentialSource, Credentials, Error, Scheme, Secret};
use wharf_types::{ErrorKind, Namespace};

use crate::Access;
use crate::convert::{any, pack};
use crate::refuse::unimplemented;
use crate::service::streaming::{Open, Streams};

/// How long a client may think about credentials; it may be a person who types.
const ANSWER: Duration = Duration::from_secs(60);

/// What `resolver` says.
///
/// # Errors
/// `NotFound` when the stream for credentials is not open.
pub(super) fn access(
    streams: &Streams,
    namespace: &Namespace,
    reference: &str,
    resolver: Option<RegistryResolver>,
) -> Result<Access, Status> {
    let Some(resolver) = resolver else { return Ok(Access::default()) };
    if !resolver.logs_stream.is_empty() {
        return Err(unimplemented(
            "a stream of the registry's HTTP exchanges is not built yet: leave logs_stream empty",
        ));
    }
    if !resolver.host_dir.is_empty() {
        return Err(unimplemented(
            "directories with the configuration of hosts are not read yet: leave host_dir empty",
        ));
    }
    let credentials: Option<Arc<dyn CredentialSource>> = if resolver.auth_stream.is_empty() {
        None
    } else {
        let stream = Mutex::new(streams.take(namespace, &resolver.auth_stream)?);
        Some(Arc::new(Asked { stream, reference: reference.to_owned() }))
    };
    let scheme = match resolver.default_scheme.as_str() {
        "" => None,
        "https" => Some(Scheme::Https),
        "http" => Some(Scheme::Http),
        other => return Err(Status::invalid_argument(format!("scheme {other:?}: https and http are known"))),
    };
    Ok(Access { scheme, headers: resolver.headers.into_iter().collect(), credentials })
}

/// Asks the client by a stream. One question at a time.
struct Asked {
    stream: Mutex<Open>,
    reference: String,
}

#[async_trait]
impl CredentialSource for Asked {
    async fn credentials(&self, registry: &str) -> wharf_fetch::Result<Option<Credentials>> {
        let reference = self.reference.clone();
        let question = AuthRequest { host: registry.to_owned(), reference, wwwauthenticate: Vec::new() };
        let question = any(pack("containerd.types.transfer.AuthRequest", &question));
        let mut stream = self.stream.lock().await;
        let answer = async {
            stream.outgoing.send(Ok(question)).await.ok()?;
            stream.incoming.message().await.ok()?
        };
        let refused = |reason: &str| Error::Refused {
            doing: format!("ask the client for credentials for {registry}"),
            kind: ErrorKind::Unauthenticated,
            reason: reason.to_owned(),
        };
        let answer = tokio::time::timeout(ANSWER, answer).await.map_err(|_| refused("it did not answer in time"))?;
        let answer = answer.ok_or_else(|| refused("it closed the stream"))?;
        let answer = AuthResponse::decode(answer.value.as_slice()).map_err(|_| refused("its answer is malformed"))?;
        Ok(match answer.auth_type() {
            AuthType::None => None,
            AuthType::Credentials => Some(Credentials::Password(answer.username, Secret::new(answer.secret))),
            AuthType::Refresh => Some(Credentials::Refresh(Secret::new(answer.secret))),
            AuthType::Header => match answer.secret.strip_prefix("Bearer ") {
                Some(token) => Some(Credentials::Bearer(Secret::new(token))),
                None => return Err(refused("a header that is no bearer token is not taken")),
            },
        })
    }
}
