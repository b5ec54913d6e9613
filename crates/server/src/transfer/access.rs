//! How a client wants a registry to be asked, and the credentials it gives when it is asked for them.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::Mutex;
use tonic::{Status, async_trait};
use wharf_api::containerd::types::transfer::{AuthRequest, AuthResponse, AuthType, RegistryResolver};
use wharf_types::Namespace;

use crate::convert::{any, pack};
use crate::refuse::unimplemented;
use crate::service::streaming::{Open, Streams};
use crate::{Access, Credentials};

/// How long a client may think about credentials; it may be a person who types.
const ANSWER: Duration = Duration::from_secs(60);

/// What `resolver` says.
///
/// # Errors
/// `NotFound` when the stream for credentials is not open.
pub(super) fn access(
    streams: &Streams,
    namespace: &Namespace,
    resolver: Option<RegistryResolver>,
) -> Result<Access, Status> {
    let Some(resolver) = resolver else { return Ok(Access::default()) };
    if !resolver.logs_stream.is_empty() {
        return Err(unimplemented(
            "a stream of the registry's HTTP exchanges is not built yet: leave logs_stream empty",
        ));
    }
    let credentials: Option<Arc<dyn Credentials>> = if resolver.auth_stream.is_empty() {
        None
    } else {
        Some(Arc::new(Asked(Mutex::new(streams.take(namespace, &resolver.auth_stream)?))))
    };
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Access {
        scheme: given(resolver.default_scheme),
        host_dir: given(resolver.host_dir),
        headers: resolver.headers.into_iter().collect(),
        credentials,
    })
}

/// Asks the client by a stream. One question at a time.
struct Asked(Mutex<Open>);

#[async_trait]
impl Credentials for Asked {
    async fn credentials(&self, host: &str, reference: &str) -> Option<(String, String)> {
        let mut stream = self.0.lock().await;
        let question =
            AuthRequest { host: host.to_owned(), reference: reference.to_owned(), wwwauthenticate: Vec::new() };
        let question = any(pack("containerd.types.transfer.AuthRequest", &question));
        let answer = async {
            stream.outgoing.send(Ok(question)).await.ok()?;
            stream.incoming.message().await.ok()?
        };
        let answer = tokio::time::timeout(ANSWER, answer).await.ok()??;
        let answer = AuthResponse::decode(answer.value.as_slice()).ok()?;
        match answer.auth_type() {
            AuthType::Credentials => Some((answer.username, answer.secret)),
            AuthType::Refresh => Some((String::new(), answer.secret)),
            AuthType::None => None,
            AuthType::Header => {
                tracing::warn!(host, "credentials as a header are not taken; use a user and a password, or a token");
                None
            }
        }
    }
}
