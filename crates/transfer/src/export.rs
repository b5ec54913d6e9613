//! Images of the content store as one archive: an OCI image layout, which is what `docker load` takes too (OCI image
//! specification, "Image Layout"; Docker image specification, "Combined Image JSON + Filesystem Changeset Format").

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use wharf_content::ContentStore;
use wharf_diff::bundle::Writer;
use wharf_types::media::{self, is_foreign_layer};
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, Platform, Reference, platform};

use crate::document::{Manifest, Shape};
use crate::graph::Graph;
use crate::{Error, Progress, Report, Result};

/// The annotation with an image's full name (containerd: `core/images`).
pub(crate) const NAME: &str = "io.containerd.image.name";

/// The annotation with a tag (OCI image specification, "Annotations").
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// How much of a blob is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// What is exported, and how.
#[derive(Clone)]
pub struct Exporter {
    /// Where the images are.
    pub content: Arc<dyn ContentStore>,
    /// Which of an index' images are exported; all when there are none.
    pub platforms: Vec<Platform>,
    /// Adds what `docker load` reads.
    pub docker: bool,
    /// Leaves out layers that registries do not keep.
    pub skip_foreign: bool,
}

impl Exporter {
    /// Writes `images`, each with its name, as one archive; equal images make equal archives. That all is there is looked at
    /// before anything is written, and each blob is verified as it is written. Blocks.
    ///
    /// # Errors
    /// `NotFound` when a part of an image is not in the store, or nothing is for the platforms; `InvalidArgument` for what is no
    /// image; [`Error::Archive`] when `out` cannot be written.
    pub fn export(&self, images: &[(String, Descriptor)], out: &mut dyn Write, progress: &Report) -> Result<()> {
        let (mut named, mut docker, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for (name, target) in images {
            let graph = Graph::read(&*self.content, target, &self.platforms)?;
            named.push(annotated(name, target));
            if let Some(manifest) = self.docker.then(|| runs_here(&graph.manifests)).flatten() {
                add_docker(&mut docker, name, manifest);
            }
            let wanted = |blob: &Descriptor| !(self.skip_foreign && is_foreign_layer(&blob.media_type));
            for blob in graph.blobs.into_iter().filter(wanted).chain(graph.documents) {
                if seen.insert(blob.digest.clone()) {
                    self.check(&blob)?;
                    blobs.push(blob);
                }
            }
        }
        let mut archive = Writer::new(out);
        file(&mut archive, "oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": named });
        file(&mut archive, "index.json", &index)?;
        if !docker.is_empty() {
            file(&mut archive, "manifest.json", &Value::Array(docker))?;
        }
        archive.directory("blobs/")?;
        let algorithms: BTreeSet<&str> = blobs.iter().map(|blob| blob.digest.algorithm().name()).collect();
        for algorithm in algorithms {
            archive.directory(&format!("blobs/{algorithm}/"))?;
        }
        for blob in &blobs {
            self.blob(&mut archive, blob)?;
            progress(Progress::Sent(blob.clone()));
        }
        archive
            .finish()?
            .flush()
            .map_err(|error| Error::Archive { kind: ErrorKind::of_io(&error), reason: error.to_string() })
    }

    /// Makes sure that a blob is there.
    fn check(&self, blob: &Descriptor) -> Result<()> {
        let what = Shape::of(&blob.media_type).word();
        match self.content.info(&blob.digest) {
            Ok(info) if info.size == blob.size => Ok(()),
            Ok(info) => {
                let reason = format!("it has {} bytes in the store, {} were to be there", info.size, blob.size);
                Err(Error::Document { what, digest: blob.digest.clone(), reason })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::Missing { what, digest: blob.digest.clone() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn blob(&self, archive: &mut Writer<&mut dyn Write>, blob: &Descriptor) -> Result<()> {
        archive.file(&path(&blob.digest), blob.size)?;
        let reader = self.content.reader(&blob.digest)?;
        let mut hasher = blob.digest.algorithm().hasher();
        let (mut buffer, mut offset) = (vec![0; CHUNK], 0);
        loop {
            let count = reader.read_at(&mut buffer, offset)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            archive.contents(bytes)?;
            offset += count as u64;
        }
        if hasher.finish() == blob.digest {
            return Ok(());
        }
        let (what, digest) = (Shape::of(&blob.media_type).word(), blob.digest.clone());
        Err(Error::Document { what, digest, reason: "it is damaged in the store".to_owned() })
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn file(archive: &mut Writer<&mut dyn Write>, name: &str, value: &Value) -> Result<()> {
    let text = value.to_string();
    archive.file(name, text.len() as u64)?;
    Ok(archive.contents(text.as_bytes())?)
}

/// A descriptor that tells the image's name.
fn annotated(name: &str, target: &Descriptor) -> Descriptor {
    let mut target = target.clone();
    let tag = name.parse::<Reference>().ok().and_then(|reference| reference.tag().map(str::to_owned));
    target.annotations.insert(NAME.to_owned(), name.to_owned());
    target.annotations.insert(REF_NAME.to_owned(), tag.unwrap_or_else(|| name.to_owned()));
    target
}

/// The image that Docker would load: it knows one platform.
fn runs_here(manifests: &[(Descriptor, Manifest)]) -> Option<&Manifest> {
    let images = manifests.iter().filter(|(_, manifest)| Shape::of(&manifest.config.media_type) == Shape::Config);
    let images: Vec<&(Descriptor, Manifest)> = images.collect();
    let best = platform::best(&[Platform::host()], images.iter().copied(), |(one, _)| one.platform.as_ref());
    best.or(images.first().copied()).map(|(_, manifest)| manifest)
}

/// Adds a name to the list that Docker reads.
fn add_docker(list: &mut Vec<Value>, name: &str, manifest: &Manifest) {
    let config = path(&manifest.config.digest);
    let tag = name.parse::<Reference>().ok().and_then(|reference| familiar(&reference));
    let tags = tag.into_iter().map(Value::from);
    let same = |one: &&mut Value| one.get("Config").and_then(Value::as_str) == Some(config.as_str());
    if let Some(Value::Array(known)) = list.iter_mut().find(same).and_then(|one| one.get_mut("RepoTags")) {
        known.extend(tags);
        return;
    }
    let layers: Vec<String> = manifest.layers.iter().map(|layer| path(&layer.digest)).collect();
    list.push(json!({ "Config": config, "RepoTags": tags.collect::<Vec<_>>(), "Layers": layers }));
}

/// The name as Docker's users write it; nothing without a tag.
fn familiar(reference: &Reference) -> Option<String> {
    let tag = reference.tag()?;
    let name = reference.name();
    let short = name.strip_prefix("docker.io/library/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(&name);
    Some(format!("{short}:{tag}"))
}
