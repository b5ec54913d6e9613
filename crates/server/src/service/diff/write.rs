//! A difference of two trees as a blob.

use std::io::{self, BufWriter, Write};

use tonic::Status;
use wharf_content::{Commit, ContentStore, Error as ContentError, Ingest, Writer};
use wharf_diff::{Compared, Comparer, Comparison};
use wharf_types::labels::UNCOMPRESSED;
use wharf_types::media::{Compression, layer_compression};
use wharf_types::{Descriptor, Digest, ErrorKind, Kind as _, LabelChange, Labels, Mount};

use crate::refuse::refuse;

/// How much of a layer is written at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// What a client wants to have written.
pub(super) struct Wanted {
    pub(super) lower: Vec<Mount>,
    pub(super) upper: Vec<Mount>,
    pub(super) comparison: Comparison,
    /// The ingest's reference, which a client that makes one up goes on to look at; another is made up without one.
    pub(super) reference: Option<String>,
    pub(super) labels: Labels,
}

/// Writes the layer and returns what points at it. What an ingest of the reference had is thrown away. After a failure
/// nothing is left but an ingest whose reference the client named. Blocks.
pub(super) fn write(store: &dyn ContentStore, comparer: &dyn Comparer, wanted: Wanted) -> Result<Descriptor, Status> {
    let made_up = wanted.reference.is_none();
    let reference = wanted.reference.clone().unwrap_or_else(|| format!("diff-{}", uuid::Uuid::new_v4()));
    let ingest = Ingest { reference: reference.clone(), ..Ingest::default() };
    let written = fill(store, comparer, &ingest, wanted);
    if written.is_err()
        && made_up
        && let Err(error) = store.abort(&reference)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(reference, %error, "the ingest of a layer that could not be written stays");
    }
    written
}

fn fill(
    store: &dyn ContentStore,
    comparer: &dyn Comparer,
    ingest: &Ingest,
    wanted: Wanted,
) -> Result<Descriptor, Status> {
    let mut writer = store.writer(ingest).map_err(refuse)?;
    writer.truncate().map_err(refuse)?;
    let mut sink = Sink { writer, failed: None };
    let compared = compare(comparer, &wanted, &mut sink);
    let compared = match (sink.failed, compared) {
        // The store's own words say more than that the layer could not be written.
        (Some(error), _) => return Err(refuse(error)),
        (None, compared) => compared.map_err(refuse)?,
    };
    let size = sink.writer.status().offset;
    let digest = commit(store, sink.writer, &compared, wanted.labels).map_err(refuse)?;
    Ok(Descriptor::new(compared.media_type, digest, size))
}

fn compare(comparer: &dyn Comparer, wanted: &Wanted, sink: &mut Sink) -> wharf_diff::Result<Compared> {
    let mut buffered = BufWriter::with_capacity(CHUNK, sink);
    let compared = comparer.compare(&wanted.lower, &wanted.upper, &wanted.comparison, &mut buffered)?;
    let failed = |source| wharf_diff::Error::Io { doing: "write the layer".into(), source };
    buffered.flush().map_err(failed)?;
    Ok(compared)
}

/// Makes a blob of the ingest; one that is there already gets the labels that it lacks.
fn commit(
    store: &dyn ContentStore,
    mut writer: Box<dyn Writer>,
    compared: &Compared,
    mut labels: Labels,
) -> wharf_content::Result<Digest> {
    if layer_compression(&compared.media_type) != Some(Compression::None) {
        labels.insert(UNCOMPRESSED.to_owned(), compared.diff_id.to_string());
    }
    match writer.commit(&Commit { labels: labels.clone(), ..Commit::default() }) {
        Err(ContentError::AlreadyExists(digest)) => {
            store.update(&digest, &LabelChange::Merge(labels))?;
            Ok(digest)
        }
        committed => Ok(committed?.digest),
    }
}

/// Writes to an ingest and remembers why that failed.
struct Sink {
    writer: Box<dyn Writer>,
    failed: Option<ContentError>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.writer.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let told = io::Error::other(error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
