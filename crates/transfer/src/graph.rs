//! What an image in the content store is made of, for those who take it elsewhere.

use std::collections::BTreeSet;

use bytes::Bytes;
use wharf_content::ContentStore;
use wharf_types::{Descriptor, ErrorKind, Kind as _, Platform, platform};

use crate::document::{self, Document, MAX_BYTES, Manifest, Shape};
use crate::pull::{MAX_DEPTH, MAX_DOCUMENTS, name_of};
use crate::{Error, Result};

/// An image's documents and blobs, each once.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Indexes and manifests, what is named before what names it: the target is the last.
    pub(crate) documents: Vec<Descriptor>,
    /// Configurations and layers.
    pub(crate) blobs: Vec<Descriptor>,
    /// The manifests among the documents, in the order of preference that platforms give.
    pub(crate) manifests: Vec<(Descriptor, Manifest)>,
    seen: BTreeSet<String>,
}

impl Graph {
    /// Reads what `target` leads to; of an index only what is for `platforms`, or everything when there are none. Blocks.
    ///
    /// # Errors
    /// `NotFound` for a document that is not there, and when nothing is for the platforms.
    pub(crate) fn read(content: &dyn ContentStore, target: &Descriptor, platforms: &[Platform]) -> Result<Self> {
        let mut graph = Self::default();
        graph.add(content, target, platforms, 0)?;
        if graph.manifests.is_empty() && !platforms.is_empty() {
            let wanted: Vec<String> = platforms.iter().map(name_of).collect();
            let (image, wanted) = (target.digest.to_string(), wanted.join(", "));
            return Err(Error::NoPlatform { image, wanted, offered: "nothing of these".to_owned() });
        }
        let rank = |one: &Descriptor| {
            let offered = one.platform.as_ref()?;
            platforms.iter().position(|wanted| wanted.rank(offered).is_some())
        };
        graph.manifests.sort_by_key(|(one, _)| rank(one).unwrap_or(usize::MAX));
        Ok(graph)
    }

    fn add(
        &mut self,
        content: &dyn ContentStore,
        target: &Descriptor,
        platforms: &[Platform],
        depth: usize,
    ) -> Result<()> {
        if !self.seen.insert(target.digest.to_string()) {
            return Ok(());
        }
        let refuse = |reason: String| Error::Document {
            what: Shape::of(&target.media_type).word(),
            digest: target.digest.clone(),
            reason,
        };
        if depth > MAX_DEPTH || self.documents.len() >= MAX_DOCUMENTS {
            return Err(refuse("it leads to too many documents, or too deep".to_owned()));
        }
        match document::parse(target, &read(content, target)?)? {
            Document::Index(listed) => {
                for child in chosen(listed, platforms) {
                    self.add(content, &child, platforms, depth + 1)?;
                }
            }
            Document::Manifest(manifest) => {
                for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
                    if self.seen.insert(blob.digest.to_string()) {
                        self.blobs.push(blob.clone());
                    }
                }
                self.manifests.push((target.clone(), *manifest));
            }
        }
        self.documents.push(target.clone());
        Ok(())
    }
}

/// What of an index is wanted, as a pull wants it: its indexes, and of its manifests the best for each platform.
fn chosen(listed: Vec<Descriptor>, platforms: &[Platform]) -> Vec<Descriptor> {
    let documents: Vec<Descriptor> = listed
        .into_iter()
        .filter(|child| matches!(Shape::of(&child.media_type), Shape::Index | Shape::Manifest))
        .collect();
    if platforms.is_empty() {
        return documents;
    }
    let index = |child: &Descriptor| Shape::of(&child.media_type) == Shape::Index;
    let (indexes, manifests): (Vec<Descriptor>, Vec<Descriptor>) = documents.into_iter().partition(index);
    let best = |wanted: &Platform| {
        platform::best(std::slice::from_ref(wanted), &manifests, |one| one.platform.as_ref()).cloned()
    };
    let chosen: Vec<Descriptor> = platforms.iter().filter_map(best).collect();
    indexes.into_iter().chain(chosen).collect()
}

/// The bytes of a small document in the store, verified. Blocks.
///
/// # Errors
/// `NotFound`; `InvalidArgument` when they are not what the descriptor says.
pub(crate) fn read(content: &dyn ContentStore, target: &Descriptor) -> Result<Bytes> {
    let what = Shape::of(&target.media_type).word();
    let refuse = |reason: String| Error::Document { what, digest: target.digest.clone(), reason };
    let reader = content.reader(&target.digest).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Missing { what, digest: target.digest.clone() },
        _ => error.into(),
    })?;
    let size = reader.size();
    if size != target.size || size > MAX_BYTES {
        return Err(refuse(format!("it has {size} bytes; {} were to be there, at most {MAX_BYTES}", target.size)));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read_at(rest, filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    let mut hasher = target.digest.algorithm().hasher();
    hasher.update(&bytes);
    if hasher.finish() != target.digest {
        return Err(refuse("it is damaged in the store".to_owned()));
    }
    Ok(bytes.into())
}
