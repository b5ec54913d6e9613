//! An image from the content store to a registry.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use wharf_content::{ContentStore, Reader};
use wharf_fetch::{ByteStream, Pushed, Resolver, Source};
use wharf_types::labels::DISTRIBUTION_SOURCE;
use wharf_types::media::is_foreign_layer;
use wharf_types::{Descriptor, Kind as _, Platform, Reference};

use crate::graph::{self, Graph};
use crate::progress::Meter;
use crate::pull::blocking;
use crate::{Progress, Report, Result};

/// How much of a blob is read at once, in bytes.
const CHUNK: usize = 128 * 1024;

/// The ends that a push joins.
#[derive(Clone)]
pub struct Pusher {
    /// Where images go.
    pub resolver: Arc<dyn Resolver>,
    /// Where they are.
    pub content: Arc<dyn ContentStore>,
    /// Which of an index' images are pushed; all when there are none.
    pub platforms: Vec<Platform>,
    /// How many blobs are under way at once.
    pub concurrency: usize,
}

impl Pusher {
    /// Has the registry name `target` by `reference`: blobs first, several at once, then manifests, then indexes. What the
    /// registry has is not sent, nor are layers that registries do not keep.
    ///
    /// # Errors
    /// Those of the registry; `NotFound` when a part of the image is not in the store, or nothing is for the platforms.
    pub async fn push(&self, target: &Descriptor, reference: &Reference, progress: Report) -> Result<()> {
        let pusher = self.resolver.pusher(reference)?;
        let (content, wanted, platforms) = (self.content.clone(), target.clone(), self.platforms.clone());
        let graph = blocking("read an image", move || Graph::read(&*content, &wanted, &platforms)).await?;
        let mut sent = Vec::new();
        for blob in graph.blobs.into_iter().filter(|blob| !is_foreign_layer(&blob.media_type)) {
            sent.push(self.clone().blob(pusher.clone(), blob, reference.clone(), progress.clone()));
        }
        stream::iter(sent).buffer_unordered(self.concurrency.max(1)).try_collect::<()>().await?;
        for document in &graph.documents {
            let (content, wanted) = (self.content.clone(), document.clone());
            let bytes = blocking("read a document", move || graph::read(&*content, &wanted)).await?;
            let pushed = pusher.manifest(document, bytes, document.digest == target.digest).await?;
            progress(told(&pushed, document));
        }
        Ok(())
    }

    /// Has one blob in the registry.
    async fn blob(
        self,
        pusher: Arc<dyn wharf_fetch::Pusher>,
        blob: Descriptor,
        reference: Reference,
        progress: Report,
    ) -> Result<()> {
        let repositories = self.repositories(&blob, &reference).await?;
        let source = Stored { content: self.content.clone(), target: blob.clone(), report: progress.clone() };
        let pushed = pusher.blob(&blob, &repositories, Arc::new(source)).await?;
        progress(told(&pushed, &blob));
        Ok(())
    }

    /// Repositories of the registry that the blob came from, after making sure that it is there.
    async fn repositories(&self, blob: &Descriptor, reference: &Reference) -> Result<Vec<String>> {
        let (content, digest) = (self.content.clone(), blob.digest.clone());
        let key = format!("{DISTRIBUTION_SOURCE}{}", reference.registry());
        blocking("look for a blob", move || {
            let labels = content.info(&digest)?.labels;
            let list = labels.get(&key).map(String::as_str).unwrap_or_default();
            Ok(list.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect())
        })
        .await
    }
}

fn told(pushed: &Pushed, target: &Descriptor) -> Progress {
    match pushed {
        Pushed::Exists | Pushed::Mounted(_) => Progress::Exists(target.clone()),
        Pushed::Sent => Progress::Sent(target.clone()),
    }
}

/// A blob of the store on its way to a registry.
struct Stored {
    content: Arc<dyn ContentStore>,
    target: Descriptor,
    report: Report,
}

/// Where its reading stands.
struct Place {
    content: Arc<dyn ContentStore>,
    target: Descriptor,
    reader: Option<Arc<dyn Reader>>,
    offset: u64,
    meter: Meter,
}

impl Source for Stored {
    fn read(&self, offset: u64) -> ByteStream {
        let (content, target) = (self.content.clone(), self.target.clone());
        let meter = Meter::new(&self.report, &self.target, Progress::Sending, offset);
        let place = Place { content, target, reader: None, offset, meter };
        Box::pin(stream::try_unfold(place, |mut place| async move {
            let bytes = place.next().await?;
            Ok((!bytes.is_empty()).then_some((bytes, place)))
        }))
    }
}

impl Place {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> wharf_fetch::Result<Bytes> {
        let (content, digest) = (self.content.clone(), self.target.digest.clone());
        let (reader, offset) = (self.reader.take(), self.offset);
        let read = blocking("read a blob", move || {
            let reader = match reader {
                Some(reader) => reader,
                None => Arc::from(content.reader(&digest)?),
            };
            let mut bytes = vec![0; CHUNK];
            let count = reader.read_at(&mut bytes, offset)?;
            bytes.truncate(count);
            Ok((reader, Bytes::from(bytes)))
        });
        let (reader, bytes) = read.await.map_err(|error| wharf_fetch::Error::Refused {
            doing: format!("read {}", self.target.digest),
            kind: error.kind(),
            reason: error.to_string(),
        })?;
        self.reader = Some(reader);
        self.offset += bytes.len() as u64;
        self.meter.add(bytes.len());
        Ok(bytes)
    }
}
