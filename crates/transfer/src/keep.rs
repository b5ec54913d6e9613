//! Indexes, manifests and configurations in the store: small, read whole, verified before they are understood.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use wharf_content::{ContentStore, Error as ContentError};
use wharf_types::labels::GC_REF_SNAPSHOT;
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, Labels};

use crate::document::{self, Config, Document, MAX_BYTES, Shape, chain_ids};
use crate::pull::{Pull, blocking};
use crate::{Error, Progress, Result, blob, labels};

impl Pull {
    /// An index or a manifest, stored with the references that the collector follows.
    pub(crate) async fn document(&self, target: &Descriptor) -> Result<Document> {
        let bytes = self.small(target).await?;
        let document = document::parse(target, &bytes)?;
        let references = match &document {
            Document::Index(manifests) => labels::of_index(manifests),
            Document::Manifest(manifest) => labels::of_manifest(manifest),
        };
        self.keep(target, bytes, references).await?;
        Ok(document)
    }

    /// The configuration of an image that is to be unpacked, stored with a reference to its snapshot.
    pub(crate) async fn config(&self, target: &Descriptor) -> Result<Config> {
        let bytes = self.small(target).await?;
        let config = document::parse_config(target, &bytes)?;
        let mut references = Labels::new();
        if let (Some((name, _)), Some(chain_id)) = (&self.unpack, chain_ids(&config.rootfs.diff_ids).last()) {
            references.insert(format!("{GC_REF_SNAPSHOT}{name}"), chain_id.to_string());
        }
        self.keep(target, bytes, references).await?;
        Ok(config)
    }

    /// The bytes of a small document: from the store if they are there and whole, else from the registry.
    async fn small(&self, target: &Descriptor) -> Result<Bytes> {
        let what = Shape::of(&target.media_type).word();
        if target.size > MAX_BYTES {
            let reason = format!("it has {} bytes, at most {MAX_BYTES} are taken", target.size);
            return Err(Error::Document { what, digest: target.digest.clone(), reason });
        }
        let (content, wanted) = (self.content.clone(), target.clone());
        if let Some(bytes) = blocking("read a document", move || stored(content.as_ref(), &wanted)).await? {
            return Ok(bytes);
        }
        let mut stream = self.fetcher.fetch(target, 0).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > target.size {
                break;
            }
        }
        let actual = digest_of(target, &bytes);
        if actual != target.digest {
            let reason = format!("what came has {} bytes and the digest {actual}", bytes.len());
            return Err(Error::Document { what, digest: target.digest.clone(), reason });
        }
        Ok(bytes.freeze())
    }

    /// Stores a small document whose bytes were verified.
    async fn keep(&self, target: &Descriptor, bytes: Bytes, references: Labels) -> Result<()> {
        let labels: BTreeMap<String, String> = self.labels.clone().into_iter().chain(references).collect();
        match self.open(target).await? {
            blob::Opened::There(_turn) => {
                (self.report)(Progress::Exists(target.clone()));
                let (content, digest) = (self.content.clone(), target.digest.clone());
                blocking("label a document", move || labels::merge(content.as_ref(), &digest, &labels)).await
            }
            blob::Opened::Ingest(mut writer, _turn) => {
                let (content, commit) = (self.content.clone(), blob::commit(target, &labels));
                let stored = blocking("store a document", move || {
                    writer.truncate()?;
                    writer.write(&bytes)?;
                    match writer.commit(&commit) {
                        Err(ContentError::AlreadyExists(digest)) => labels::merge(content.as_ref(), &digest, &labels),
                        committed => Ok(committed.map(drop)?),
                    }
                });
                stored.await?;
                (self.report)(Progress::Fetched(target.clone(), target.size));
                (self.report)(Progress::Stored(target.clone()));
                Ok(())
            }
        }
    }
}

/// A document's bytes if the store has them. Damaged ones are removed.
fn stored(content: &dyn ContentStore, target: &Descriptor) -> Result<Option<Bytes>> {
    let reader = match content.reader(&target.digest) {
        Ok(reader) => reader,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = reader.size();
    let mut bytes = vec![0; usize::try_from(size.min(MAX_BYTES)).unwrap_or_default()];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read_at(rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    if size == target.size && filled == bytes.len() && digest_of(target, &bytes) == target.digest {
        return Ok(Some(bytes.into()));
    }
    tracing::warn!(digest = %target.digest, "damaged in the store, fetched again");
    drop(reader);
    content.delete(&target.digest)?;
    Ok(None)
}

fn digest_of(target: &Descriptor, bytes: &[u8]) -> Digest {
    let mut hasher = target.digest.algorithm().hasher();
    hasher.update(bytes);
    hasher.finish()
}
