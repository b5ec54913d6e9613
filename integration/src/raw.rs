//! Calls of any method by its path, with any bytes as its message: what a client would never send.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message;
use prost::bytes::{Buf as _, BufMut as _};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::{NAMESPACE, Scene};

/// Messages as the bytes that they are.
#[derive(Debug, Default)]
pub struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// A connection of its own to a scene's daemon.
///
/// # Errors
/// When the daemon does not answer.
pub async fn channel(scene: &Scene) -> anyhow::Result<Channel> {
    let address: PathBuf = scene.daemon.address();
    let connector = tower::service_fn(move |_| {
        let address = address.clone();
        async move { tokio::net::UnixStream::connect(address).await.map(hyper_util::rt::TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await.context("connect to the daemon")
}

/// Calls a method (`package.Service/Method`) with one message, and returns the first that is answered; nothing where the
/// answer ends without one.
///
/// # Errors
/// The daemon's status.
pub async fn call(channel: &Channel, method: &str, message: Vec<u8>) -> Result<Option<Vec<u8>>, Status> {
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    grpc.ready().await.map_err(|error| Status::unavailable(format!("the connection: {error}")))?;
    let mut request = Request::new(tokio_stream::iter([message]));
    let namespace = NAMESPACE.parse().map_err(|_| Status::internal("the namespace is no header"))?;
    request.metadata_mut().insert("containerd-namespace", namespace);
    let path = format!("/{method}").parse().map_err(|_| Status::internal("the method is no path"))?;
    grpc.streaming(request, path, Bytes).await?.into_inner().message().await
}

/// [`call`] with messages of their types.
///
/// # Errors
/// The daemon's status; `Internal` for an answer that is none.
pub async fn ask<T: Message + Default>(channel: &Channel, method: &str, message: &impl Message) -> Result<T, Status> {
    let answer = call(channel, method, message.encode_to_vec()).await?.unwrap_or_default();
    T::decode(answer.as_slice()).map_err(|error| Status::internal(format!("the answer of {method}: {error}")))
}

/// The methods of the gRPC API, by the wire facts.
///
/// # Errors
/// When the facts cannot be read.
pub fn methods() -> anyhow::Result<Vec<String>> {
    let facts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/wire/containerd-api.txt");
    let facts = std::fs::read_to_string(facts)?;
    let (mut methods, mut service) = (Vec::new(), "");
    for line in facts.lines() {
        match line.strip_prefix("service ") {
            Some(name) => service = name,
            None if !line.starts_with("  ") => service = "",
            None if service.starts_with("containerd.services.") && !service.contains("ttrpc") => {
                methods.push(format!("{service}/{}", line.trim().split('\t').next().unwrap_or_default()));
            }
            None => {}
        }
    }
    Ok(methods)
}
