//! Pulling images: the server fetches and unpacks, this side watches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt as _;
use prost::Message as _;
use prost_types::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wharf_api::containerd::services::streaming::v1::StreamInit;
use wharf_api::containerd::services::transfer::v1::{TransferOptions, TransferRequest};
use wharf_api::containerd::types::Platform;
use wharf_api::containerd::types::transfer as api;

use crate::{Client, Error, Image, Result};

/// One line of a transfer's progress, as the server tells it.
pub type PullProgress = api::Progress;

/// How to pull.
#[derive(Clone)]
pub struct PullOptions {
    /// Where layers are unpacked; empty to fetch only.
    pub snapshotter: String,
    /// Speaks plain HTTP also to hosts that are not this machine.
    pub plain_http: bool,
    /// A user's name and password for the registry.
    pub credentials: Option<(String, String)>,
    /// Labels of the image's record.
    pub labels: HashMap<String, String>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { snapshotter: "overlayfs".to_owned(), plain_http: false, credentials: None, labels: HashMap::new() }
    }
}

impl std::fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        let user = self.credentials.as_ref().map(|(user, _)| user);
        f.debug_struct("PullOptions")
            .field("snapshotter", &self.snapshotter)
            .field("plain_http", &self.plain_http)
            .field("user", &user)
            .field("labels", &self.labels)
            .finish()
    }
}

impl Client {
    /// Has the server pull `reference` for this machine's platform and unpack it, and calls `progress` as it goes.
    ///
    /// # Errors
    /// The server's own: `NotFound`, `Unauthenticated`, `Unavailable`, …
    pub async fn pull(
        &self,
        reference: &str,
        options: &PullOptions,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<Image> {
        let name = reference
            .parse::<wharf_types::Reference>()
            .map_err(|error| Error::Image { image: reference.to_owned(), reason: error.to_string() })?
            .to_string();
        let auth_stream = match options.credentials.clone() {
            Some(credentials) => self.answer_credentials(credentials).await?,
            None => String::new(),
        };
        let (source, destination) = ends(&name, options, auth_stream);
        self.watch_transfer(format!("pull {name}"), source, destination, progress).await?;
        self.image(&name, &options.snapshotter).await
    }

    /// Has the server move something, and calls `progress` as it goes.
    pub(crate) async fn watch_transfer(
        &self,
        doing: String,
        source: Any,
        destination: Any,
        mut progress: impl FnMut(PullProgress) + Send,
    ) -> Result<()> {
        let (progress_stream, mut lines) = self.open_stream("progress").await?;
        let options = Some(TransferOptions { progress_stream });
        let request = TransferRequest { source: Some(source), destination: Some(destination), options };
        let mut transfer = self.transfer();
        let call = transfer.transfer(request);
        tokio::pin!(call);
        let mut open = true;
        loop {
            tokio::select! {
                // Lines first: what happened before the answer is told before it.
                biased;
                line = lines.incoming.next(), if open => match line {
                    Some(Ok(any)) => if let Ok(line) = api::Progress::decode(any.value.as_slice()) { progress(line) },
                    _ => open = false,
                },
                answer = &mut call => return answer.map(drop).map_err(Error::during(doing)),
            }
        }
    }

    /// Opens a stream under a name of its own.
    pub(crate) async fn open_stream(&self, purpose: &str) -> Result<(String, Streamed)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{purpose}-{}-{number}-{:p}", std::process::id(), &raw const number);
        let (outgoing, queue) = mpsc::channel(4);
        let init = StreamInit { id: id.clone() };
        let first = any("containerd.services.streaming.v1.StreamInit", &init);
        // The channel is new and has room.
        let _ = outgoing.send(first).await;
        let doing = format!("open a stream for {purpose}");
        let answer = self.streaming().stream(ReceiverStream::new(queue)).await.map_err(Error::during(doing.clone()))?;
        let mut incoming = answer.into_inner();
        // The first answer says that the stream is known by its name from now on.
        incoming.message().await.map_err(Error::during(doing))?;
        Ok((id, Streamed { outgoing, incoming }))
    }

    /// Answers the server's questions for credentials until the server closes the stream.
    pub(crate) async fn answer_credentials(&self, (username, secret): (String, String)) -> Result<String> {
        let (id, mut stream) = self.open_stream("auth").await?;
        tokio::spawn(async move {
            while let Some(Ok(_)) = stream.incoming.next().await {
                let (secret, username) = (secret.clone(), username.clone());
                let auth_type = api::AuthType::Credentials.into();
                let answer = api::AuthResponse { auth_type, secret, username, expire_at: None };
                if stream.outgoing.send(any("containerd.types.transfer.AuthResponse", &answer)).await.is_err() {
                    break;
                }
            }
        });
        Ok(id)
    }
}

/// Both directions of a stream.
pub(crate) struct Streamed {
    pub(crate) outgoing: mpsc::Sender<Any>,
    pub(crate) incoming: tonic::Streaming<Any>,
}

pub(crate) fn any(type_url: &str, message: &impl prost::Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

/// How the server is to speak to a registry.
pub(crate) fn registry(name: &str, plain_http: bool, auth_stream: String) -> Any {
    let resolver = api::RegistryResolver {
        auth_stream,
        default_scheme: if plain_http { "http".to_owned() } else { String::new() },
        ..api::RegistryResolver::default()
    };
    any(
        "containerd.types.transfer.OCIRegistry",
        &api::OciRegistry { reference: name.to_owned(), resolver: Some(resolver) },
    )
}

fn ends(name: &str, options: &PullOptions, auth_stream: String) -> (Any, Any) {
    let host = wharf_types::Platform::host();
    let platform =
        Platform { os: host.os, architecture: host.architecture, variant: host.variant, ..Platform::default() };
    let unpack =
        api::UnpackConfiguration { platform: Some(platform.clone()), snapshotter: options.snapshotter.clone() };
    let destination = api::ImageStore {
        name: name.to_owned(),
        labels: options.labels.clone(),
        platforms: vec![platform],
        unpacks: if options.snapshotter.is_empty() { Vec::new() } else { vec![unpack] },
        ..api::ImageStore::default()
    };
    (registry(name, options.plain_http, auth_stream), any("containerd.types.transfer.ImageStore", &destination))
}
