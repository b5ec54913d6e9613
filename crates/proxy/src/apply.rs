//! A foreign differ, as far as it extracts layers.

use std::io::Read;
use std::path::PathBuf;

use tonic::Response;
use wharf_api::containerd::services::diff::v1 as api;
use wharf_api::containerd::services::diff::v1::diff_client::DiffClient;
use wharf_api::containerd::types;
use wharf_diff::{Applied, Applier, Error, Result};
use wharf_types::digest::Algorithm;
use wharf_types::{Digest, Mount};

use crate::convert::{mounts, signed, unsigned};
use crate::plugin::MAX_MESSAGE;
use crate::{Plugin, Refusal};

/// How much of a layer is read at once.
const PIECE: usize = 128 << 10;

/// The applier that a plugin serves.
///
/// The API names a layer by its digest, and the plugin fetches its bytes from a content store that it knows: so the layer has
/// to be there before it is extracted, and is read here only for its digest and size.
#[derive(Clone, Debug)]
pub struct ProxyApplier {
    plugin: Plugin,
}

impl ProxyApplier {
    /// Over `plugin`, whose namespace is that of the content store.
    #[must_use]
    pub fn new(plugin: Plugin) -> Self {
        Self { plugin }
    }

    fn refused(refusal: Refusal) -> Error {
        Error::Io { doing: "ask a proxy plugin to extract a layer".to_owned(), source: std::io::Error::other(refusal) }
    }
}

impl Applier for ProxyApplier {
    fn apply(&self, layer: &mut dyn Read, media_type: &str, target: &[Mount]) -> Result<Applied> {
        let (digest, size) = look(layer)?;
        let layer = types::Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size: signed(size),
            ..types::Descriptor::default()
        };
        let message = api::ApplyRequest { diff: Some(layer), mounts: mounts(target), ..api::ApplyRequest::default() };
        let client = DiffClient::new(self.plugin.channel());
        let mut client = client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        let (doing, request) = (format!("apply layer {digest}"), self.plugin.request(message));
        let answer = self.plugin.wait(&doing, async move { client.apply(request).await.map(Response::into_inner) });
        let odd = |reason: String| Self::refused(Refusal::odd(&self.plugin, &doing, reason));
        let applied = answer.map_err(Self::refused)?.applied;
        let applied = applied.ok_or_else(|| odd("the answer has no descriptor".to_owned()))?;
        let diff_id = applied.digest.parse().map_err(|error| odd(format!("{error}")))?;
        Ok(Applied { diff_id, size: unsigned(applied.size), implied: Vec::new() })
    }

    fn adopt(&self, _: &[Mount], _: &[PathBuf], _: &[PathBuf]) -> Result<()> {
        // What it extracts has its parents in sight, or is refused.
        Ok(())
    }
}

/// The digest and the size of all bytes.
fn look(layer: &mut dyn Read) -> Result<(Digest, u64)> {
    let (mut hasher, mut size, mut piece) = (Algorithm::Sha256.hasher(), 0, vec![0; PIECE]);
    loop {
        let read = layer.read(&mut piece).map_err(|source| Error::Io { doing: "read the layer".into(), source })?;
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
        size += read as u64;
    }
    Ok((hasher.finish(), size))
}
