//! An archive's files into ingests, and what they are.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use wharf_content::{Commit, ContentStore, Error as ContentError, Ingest, Writer};
use wharf_diff::bundle::{self, Member, MemberKind, Members};
use wharf_types::{Descriptor, Digest, ErrorKind, Labels, media};

use super::{digest_of, docker};
use crate::document::{MAX_BYTES, Shape};
use crate::{Error, Result, labels};

/// The most files that an archive may have.
const MAX_FILES: usize = 65_536;

/// The most bytes that the name of a file may have.
const MAX_NAME: usize = 4096;

/// What came of an archive.
#[derive(Default)]
pub(super) struct Files {
    /// By their names.
    pub(super) blobs: BTreeMap<String, (Digest, u64)>,
    /// Names that stand for others.
    links: BTreeMap<String, String>,
    layout: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    docker: Option<Vec<u8>>,
}

impl Files {
    /// The blob that a name stands for.
    pub(super) fn find(&self, name: &str) -> Result<(Digest, u64)> {
        let name = clean(name.as_bytes()).unwrap_or_else(|_| name.to_owned());
        let found = self.blobs.get(&name).or_else(|| self.blobs.get(self.links.get(&name)?));
        found.cloned().ok_or_else(|| refuse(format!("it lacks the file {name:?}, which an image in it is made of")))
    }
}

/// Takes in an archive, and returns the index of what is in it. Blocks.
pub(super) fn take(
    content: &Arc<dyn ContentStore>,
    mut bytes: Box<dyn Read + Send>,
    compress: bool,
    labels: &Labels,
) -> Result<Descriptor> {
    let mut files = Files::default();
    let unique = format!("{:016x}", rand::random::<u64>());
    bundle::read(&mut *bytes, |members| {
        let mut count = 0;
        while let Some(member) = members.next_member()? {
            count += 1;
            if count > MAX_FILES || member.path.len() > MAX_NAME {
                return Err(refuse(format!("more than {MAX_FILES} files, or a name of more than {MAX_NAME} bytes")));
            }
            let reference = format!("import-{unique}-{count}");
            files.take(&**content, members, member, &reference, labels)?;
        }
        Ok::<(), Error>(())
    })?;
    match (files.layout.take(), files.docker.take()) {
        (Some(layout), _) => {
            let index = files.index.take();
            check_layout(&layout)?;
            let index = index.ok_or_else(|| refuse("it is an OCI image layout without index.json".to_owned()))?;
            document(&**content, media::OCI_INDEX, &index, labels)
        }
        (None, Some(manifest)) => docker::index(&**content, &files, &manifest, compress, labels),
        (None, None) => Err(refuse(
            "it has neither oci-layout nor manifest.json: it is no OCI image layout and not what `docker save` writes"
                .to_owned(),
        )),
    }
}

impl Files {
    fn take(
        &mut self,
        content: &dyn ContentStore,
        members: &mut Members<'_>,
        member: Member,
        reference: &str,
        labels: &Labels,
    ) -> Result<()> {
        let size = match member.kind {
            MemberKind::File(size) => size,
            MemberKind::Symlink(to) => {
                let from = clean(&member.path)?;
                let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
                let to = [folder.as_bytes(), b"/", &to].concat();
                // A link to elsewhere is no file of an image; whoever names it learns that it is not there.
                if let Ok(to) = clean(&to) {
                    self.links.insert(from, to);
                }
                return Ok(());
            }
            MemberKind::Other => return Ok(()),
        };
        let name = clean(&member.path)?;
        let place = match name.as_str() {
            "oci-layout" => &mut self.layout,
            "index.json" => &mut self.index,
            "manifest.json" => &mut self.docker,
            _ => {
                let digest = blob(content, members, &name, size, reference, labels)?;
                self.blobs.insert(name, (digest, size));
                return Ok(());
            }
        };
        if size > MAX_BYTES {
            return Err(refuse(format!("{name} has {size} bytes, at most {MAX_BYTES} are taken")));
        }
        let mut bytes = Vec::new();
        members.contents(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), Error>(())
        })?;
        *place = Some(bytes);
        Ok(())
    }
}

/// A file as a blob.
fn blob(
    content: &dyn ContentStore,
    members: &mut Members<'_>,
    name: &str,
    size: u64,
    reference: &str,
    labels: &Labels,
) -> Result<Digest> {
    let expected = digest_of(name);
    let ingest = Ingest { reference: reference.to_owned(), total: Some(size), expected: expected.clone() };
    let mut writer = match content.writer(&ingest) {
        Err(ContentError::AlreadyExists(digest)) => return Ok(digest),
        writer => writer?,
    };
    let written = members.contents(|piece| Ok::<(), Error>(writer.write(piece)?));
    let committed = written.and_then(|()| commit(content, &mut *writer, Some(size), expected, labels));
    if committed.is_err() {
        drop(writer);
        give_up(content, reference);
    }
    committed
}

pub(super) fn commit(
    content: &dyn ContentStore,
    writer: &mut dyn Writer,
    size: Option<u64>,
    expected: Option<Digest>,
    labels: &Labels,
) -> Result<Digest> {
    match writer.commit(&Commit { size, expected, labels: labels.clone() }) {
        Ok(info) => Ok(info.digest),
        Err(ContentError::AlreadyExists(digest)) => {
            labels::merge(content, &digest, labels)?;
            Ok(digest)
        }
        Err(error @ (ContentError::WrongDigest { .. } | ContentError::WrongSize { .. })) => {
            Err(refuse(format!("a file in it is not what its name says: {error}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes an ingest that comes to nothing.
pub(super) fn give_up(content: &dyn ContentStore, reference: &str) {
    if let Err(error) = content.abort(reference) {
        tracing::debug!(reference, %error, "an ingest of an import is gone already");
    }
}

/// A document that is made here.
pub(super) fn document(
    content: &dyn ContentStore,
    media_type: &str,
    bytes: &[u8],
    labels: &Labels,
) -> Result<Descriptor> {
    let target = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
    let reference = format!("{}-{}-{:016x}", Shape::of(media_type).word(), target.digest, rand::random::<u64>());
    let ingest =
        Ingest { reference: reference.clone(), total: Some(target.size), expected: Some(target.digest.clone()) };
    let mut writer = match content.writer(&ingest) {
        Err(ContentError::AlreadyExists(_)) => return Ok(target),
        writer => writer?,
    };
    let written = writer.write(bytes).map_err(Error::from);
    let size = Some(target.size);
    let done = written.and_then(|()| commit(content, &mut *writer, size, Some(target.digest.clone()), labels));
    if done.is_err() {
        drop(writer);
        give_up(content, &reference);
    }
    done.map(|_| target)
}

fn check_layout(bytes: &[u8]) -> Result<()> {
    let layout: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| refuse(format!("oci-layout: {error}")))?;
    match layout.get("imageLayoutVersion").and_then(serde_json::Value::as_str) {
        Some("1.0.0") => Ok(()),
        Some(other) => {
            let other: String = other.chars().take(32).collect();
            Err(refuse(format!("it is an OCI image layout of version {other:?}, 1.0.0 is taken")))
        }
        None => Err(refuse("oci-layout names no version".to_owned())),
    }
}

/// A name without `.` and `..`.
fn clean(path: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(path).map_err(|_| refuse("a name of a file in it is no text".to_owned()))?;
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| refuse(format!("the file {text:?} lies outside of it")))?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

pub(super) fn refuse(reason: String) -> Error {
    Error::Archive { kind: ErrorKind::InvalidArgument, reason }
}
