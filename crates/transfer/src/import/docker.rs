//! What `docker save` writes: a list of configurations, layers and names, of which manifests are made here.

use std::io::{self, Read};

use serde::Deserialize;
use serde_json::json;
use wharf_content::{ContentStore, Ingest, Reader};
use wharf_diff::bundle;
use wharf_types::labels::UNCOMPRESSED;
use wharf_types::{Descriptor, Digest, LabelChange, Labels, Reference, media};

use super::archive::{Files, commit, document, give_up, refuse};
use crate::export::{NAME, REF_NAME};
use crate::{Error, Result};

/// The most images, and the most layers of one.
const MAX: usize = 1024;

/// One image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Makes manifests of the list, and an index of them.
pub(super) fn index(
    content: &dyn ContentStore,
    files: &Files,
    list: &[u8],
    compress: bool,
    labels: &Labels,
) -> Result<Descriptor> {
    let list: Vec<Saved> = serde_json::from_slice(list).map_err(|error| refuse(format!("manifest.json: {error}")))?;
    let most = list.iter().map(|one| one.layers.as_ref().map_or(0, Vec::len)).max().unwrap_or_default();
    if list.len() > MAX || most > MAX {
        return Err(refuse(format!("manifest.json has more than {MAX} images or layers")));
    }
    let mut manifests = Vec::new();
    for saved in list {
        let (digest, size) = files.find(&saved.config)?;
        let config = Descriptor::new(media::DOCKER_CONFIG, digest, size);
        let parsed = crate::document::parse_config(&config, &crate::graph::read(content, &config)?)?;
        let mut layers = Vec::new();
        for name in saved.layers.unwrap_or_default() {
            let (digest, size) = files.find(&name)?;
            layers.push(layer(content, digest, size, compress, labels)?);
        }
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media::DOCKER_MANIFEST, "config": config, "layers": layers });
        let mut manifest = document(content, media::DOCKER_MANIFEST, manifest.to_string().as_bytes(), labels)?;
        manifest.platform = parsed.platform.whole();
        let tags = saved.repo_tags.unwrap_or_default();
        if tags.is_empty() {
            manifests.push(manifest.clone());
        }
        for tag in tags {
            manifests.push(named(&manifest, &tag)?);
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": manifests });
    document(content, media::OCI_INDEX, index.to_string().as_bytes(), labels)
}

/// The manifest under a name, in its full form.
fn named(manifest: &Descriptor, tag: &str) -> Result<Descriptor> {
    let name: Reference = tag.parse().map_err(|error| refuse(format!("manifest.json: {error}")))?;
    let mut manifest = manifest.clone();
    manifest.annotations.insert(NAME.to_owned(), name.to_string());
    manifest.annotations.insert(REF_NAME.to_owned(), name.tag().unwrap_or_default().to_owned());
    Ok(manifest)
}

/// A layer with the type that its first bytes say, compressed if that is wanted and it is not.
fn layer(content: &dyn ContentStore, digest: Digest, size: u64, compress: bool, labels: &Labels) -> Result<Descriptor> {
    let reader = content.reader(&digest)?;
    let mut head = [0; 4];
    let count = reader.read_at(&mut head, 0)?;
    let media_type = match head.get(..count).unwrap_or_default() {
        [0x1f, 0x8b, ..] => media::DOCKER_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media::DOCKER_LAYER_ZSTD,
        _ if compress => return compressed(content, reader, &digest, labels),
        _ => media::DOCKER_LAYER,
    };
    Ok(Descriptor::new(media_type, digest, size))
}

fn compressed(
    content: &dyn ContentStore,
    reader: Box<dyn Reader>,
    digest: &Digest,
    labels: &Labels,
) -> Result<Descriptor> {
    let reference = format!("compress-{digest}-{:016x}", rand::random::<u64>());
    let mut writer = content.writer(&Ingest { reference: reference.clone(), ..Ingest::default() })?;
    let mut failed = None;
    let mut sink = Sink(&mut *writer, &mut failed);
    let result = bundle::compress(&mut Bytes { reader, offset: 0 }, &mut sink).map_err(Error::from);
    let result = match failed {
        Some(error) => Err(Error::from(error)),
        None => result,
    };
    let size = writer.status().offset;
    let committed = result.and_then(|_| commit(content, &mut *writer, Some(size), None, labels));
    if committed.is_err() {
        drop(writer);
        give_up(content, &reference);
    }
    let made = committed?;
    let note = Labels::from([(UNCOMPRESSED.to_owned(), digest.to_string())]);
    content.update(&made, &LabelChange::Merge(note))?;
    Ok(Descriptor::new(media::DOCKER_LAYER_GZIP, made, size))
}

/// A blob from its first byte to its last.
struct Bytes {
    reader: Box<dyn Reader>,
    offset: u64,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read_at(buffer, self.offset).map_err(io::Error::other)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// An ingest, and why it could not be written.
struct Sink<'a>(&'a mut dyn wharf_content::Writer, &'a mut Option<wharf_content::Error>);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let told = io::Error::other(error.to_string());
                *self.1 = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
