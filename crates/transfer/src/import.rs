//! Images from one archive into the content store: OCI image layouts, and what `docker save` writes.
//!
//! The archive's files go into the store while they come; that they make whole images is looked at before any is unpacked,
//! and an archive of which anything is wrong is refused whole. What it brought has no name then, nor does anything refer to it:
//! the collector takes it.

mod archive;
mod docker;

use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;
use wharf_content::ContentStore;
use wharf_diff::Applier;
use wharf_fetch::{ByteStream, Fetcher};
use wharf_snapshot::Snapshotter;
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, LabelChange, Platform};

use crate::document::Shape;
use crate::feed::GivenUp;
use crate::graph::Graph;
use crate::pull::{Alive, Pull, blocking};
use crate::{Error, Options, Report, Result, labels};

/// The ends that an import joins.
#[derive(Clone)]
pub struct Importer {
    /// Where blobs go.
    pub content: Arc<dyn ContentStore>,
    /// How layers are extracted.
    pub applier: Arc<dyn Applier>,
    /// Where layers go: the snapshotters' names, which labels carry, and the snapshotters.
    pub unpack: Vec<(String, Arc<dyn Snapshotter>)>,
    /// Compresses layers of Docker's archives that are not. Those of a layout are what its manifests say.
    pub compress: bool,
}

/// What an archive brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The index of all images in the archive.
    pub index: Descriptor,
    /// What the index lists, if it is for the platforms that are wanted; annotations tell names.
    pub images: Vec<Descriptor>,
}

impl Importer {
    /// Takes in the archive that `bytes` brings, compressed with gzip or zstd or not.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no archive of images or lacks a part of them; `NotFound` when nothing in it is for
    /// the platforms; those of the stores.
    pub async fn import(&self, bytes: Box<dyn Read + Send>, options: &Options, progress: Report) -> Result<Imported> {
        let (content, compress, labels) = (self.content.clone(), self.compress, options.labels.clone());
        let index = blocking("read an archive", move || archive::take(&content, bytes, compress, &labels)).await?;
        let (content, top) = (self.content.clone(), index.clone());
        let platforms = if options.all_platforms { Vec::new() } else { options.platforms.clone() };
        let images = blocking("look at an archive", move || look(&*content, &top, &platforms)).await?;
        let mut taken = Vec::new();
        for image in images {
            match self.settle(&image, options, &progress).await {
                Ok(()) => taken.push(image),
                // Others in it may be for this machine.
                Err(Error::NoPlatform { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if taken.is_empty() {
            return Err(nothing(&index, &options.platforms));
        }
        Ok(Imported { index, images: taken })
    }

    /// Labels what an image is made of, and unpacks it: a pull that finds all that it wants in the store.
    async fn settle(&self, image: &Descriptor, options: &Options, progress: &Report) -> Result<()> {
        let name = image.annotations.get(crate::export::NAME).cloned();
        let mut unpacks: Vec<_> = self.unpack.iter().cloned().map(Some).collect();
        if unpacks.is_empty() {
            unpacks.push(None);
        }
        for unpack in unpacks {
            let (group, mut ended) = mpsc::channel(1);
            let pull = Arc::new(Pull {
                name: name.clone().unwrap_or_else(|| image.digest.to_string()),
                options: options.clone(),
                fetcher: Arc::new(Absent),
                content: self.content.clone(),
                applier: self.applier.clone(),
                unpack,
                report: progress.clone(),
                labels: options.labels.clone(),
                given_up: GivenUp::default(),
                group,
            });
            let alive = Alive(pull.given_up.clone());
            let result = pull.run(image.clone()).await;
            drop((alive, pull));
            let _ = ended.recv().await;
            result?;
        }
        Ok(())
    }
}

/// Makes sure that all is there that is wanted, and has the index refer to its images. Blocks.
fn look(content: &dyn ContentStore, index: &Descriptor, platforms: &[Platform]) -> Result<Vec<Descriptor>> {
    let crate::document::Document::Index(listed) = crate::document::parse(index, &crate::graph::read(content, index)?)?
    else {
        return Ok(Vec::new());
    };
    let mut wanted = Vec::new();
    for image in listed {
        let theirs = |wanted: &Platform| image.platform.as_ref().is_none_or(|offered| wanted.rank(offered).is_some());
        if !platforms.is_empty() && !platforms.iter().any(theirs) {
            continue;
        }
        let graph = match Graph::read(content, &image, platforms) {
            Err(Error::NoPlatform { .. }) => continue,
            graph => graph.map_err(absent)?,
        };
        for blob in &graph.blobs {
            match content.info(&blob.digest) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let what = Shape::of(&blob.media_type).word();
                    return Err(absent(Error::Missing { what, digest: blob.digest.clone() }));
                }
                info => drop(info?),
            }
        }
        wanted.push(image);
    }
    if wanted.is_empty() {
        return Err(nothing(index, platforms));
    }
    content.update(&index.digest, &LabelChange::Merge(labels::of_index(&wanted)))?;
    Ok(wanted)
}

/// What is not in the store was not in the archive.
fn absent(error: Error) -> Error {
    match error {
        Error::Missing { what, digest } => Error::Archive {
            kind: ErrorKind::InvalidArgument,
            reason: format!("it lacks {what} {digest}, which an image in it is made of"),
        },
        other => other,
    }
}

fn nothing(index: &Descriptor, platforms: &[Platform]) -> Error {
    let wanted: Vec<String> = platforms.iter().map(crate::pull::name_of).collect();
    Error::NoPlatform {
        image: format!("archive with index {}", index.digest),
        wanted: wanted.join(", "),
        offered: "others, or nothing is in it".to_owned(),
    }
}

/// Stands where the registry stands in a pull.
struct Absent;

#[async_trait]
impl Fetcher for Absent {
    async fn fetch(&self, target: &Descriptor, _offset: u64) -> wharf_fetch::Result<ByteStream> {
        Err(wharf_fetch::Error::Refused {
            doing: format!("find {} in the archive", target.digest),
            kind: ErrorKind::InvalidArgument,
            reason: "it is not there".to_owned(),
        })
    }
}

/// The digest that a path in a layout stands for.
fn digest_of(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
