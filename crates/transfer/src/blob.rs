//! One blob from the registry into the content store, and past the store to whoever extracts it.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, sleep};
use wharf_content::{Commit, Error as ContentError, Ingest, Reader, Writer};
use wharf_fetch::ByteStream;
use wharf_types::{Descriptor, ErrorKind, Kind as _, Labels};

use crate::document::Shape;
use crate::feed::{DEPTH, Piece};
use crate::progress::Meter;
use crate::pull::{Pull, blocking};
use crate::{Error, Progress, Result, labels};

/// How many blobs of all pulls may have threads at once: each has two, and the runtime has 512.
static THREADS: Semaphore = Semaphore::const_new(64);

/// How often it is looked whether another pull is done with a blob.
const LOOK: Duration = Duration::from_millis(50);

/// How long another pull may be without a new byte until this one gives up waiting for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a blob is when its turn comes.
pub(crate) enum Opened {
    /// In the store.
    There(Turn),
    /// To be written, from the writer's offset on.
    Ingest(Box<dyn Writer>, Turn),
}

/// Leave to have threads for a blob. Nobody waits for another pull while having one, so whoever has an ingest open gets on.
pub(crate) type Turn = Option<SemaphorePermit<'static>>;

impl Pull {
    /// Has a blob in the store, with `labels`.
    pub(crate) async fn store(&self, target: &Descriptor, labels: &Labels) -> Result<()> {
        let opened = self.open(target).await?;
        self.fill(opened, target, labels, None).await.map(drop)
    }

    /// Has a blob that was opened in the store. All of its bytes, also those that are there already, go to `tap` too, as
    /// long as somebody listens there. False when those bytes were not what is stored now: then
    /// what listened saw damage that is mended.
    pub(crate) async fn fill(
        &self,
        opened: Opened,
        target: &Descriptor,
        labels: &Labels,
        mut tap: Option<mpsc::Sender<Piece>>,
    ) -> Result<bool> {
        let (writer, turn) = match opened {
            Opened::There(_turn) => return self.found(target, labels, &tap).await.map(|()| true),
            Opened::Ingest(writer, turn) => (writer, turn),
        };
        let resumed = writer.status().offset > 0;
        match self.copy(target, labels, &mut tap, writer).await {
            // The bytes of an earlier attempt may be what is wrong: power cuts leave zeros. They are gone now.
            Err(error) if resumed && is_mismatch(&error) => {
                drop((tap, turn));
                match self.open(target).await? {
                    Opened::There(_turn) => self.found(target, labels, &None).await?,
                    Opened::Ingest(writer, _turn) => self.copy(target, labels, &mut None, writer).await?,
                }
                Ok(false)
            }
            result => result.map(|()| true),
        }
    }

    /// A blob that needs not be fetched.
    async fn found(&self, target: &Descriptor, labels: &Labels, tap: &Option<mpsc::Sender<Piece>>) -> Result<()> {
        (self.report)(Progress::Exists(target.clone()));
        let (content, digest, labels) = (self.content.clone(), target.digest.clone(), labels.clone());
        let wanted = tap.is_some();
        let reader = blocking("label a blob", move || {
            labels::merge(content.as_ref(), &digest, &labels)?;
            Ok(if wanted { Some(content.reader(&digest)?) } else { None })
        });
        if let (Some(reader), Some(tap)) = (reader.await?, tap) {
            // Nobody listens when the layer was refused; that is told elsewhere.
            let _ = tap.send(Piece::Stored(reader)).await;
            let _ = tap.send(Piece::End).await;
        }
        Ok(())
    }

    /// Opens the blob's ingest, once no other pull has it open.
    pub(crate) async fn open(&self, target: &Descriptor) -> Result<Opened> {
        let ingest = ingest(target);
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            // It is never closed.
            let turn = THREADS.acquire().await.ok();
            let (content, wanted) = (self.content.clone(), ingest.clone());
            let opened = blocking("open an ingest", move || match content.writer(&wanted) {
                Ok(writer) => Ok(Ok(Opened::Ingest(writer, turn))),
                Err(ContentError::AlreadyExists(_)) => Ok(Ok(Opened::There(turn))),
                Err(ContentError::OtherTotal { .. }) => {
                    // What was begun under this name cannot become this blob.
                    content.abort(&wanted.reference)?;
                    Ok(Ok(Opened::Ingest(content.writer(&wanted)?, turn)))
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    Ok(Err((error, content.status(&wanted.reference).ok().map(|status| status.offset))))
                }
                Err(error) => Err(error.into()),
            });
            let (error, offset) = match opened.await? {
                Ok(opened) => return Ok(opened),
                Err(busy) => busy,
            };
            if offset != seen {
                (seen, since) = (offset, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(error.into());
            }
            sleep(LOOK).await;
        }
    }

    /// Fetches the rest of a blob.
    async fn copy(
        &self,
        target: &Descriptor,
        labels: &Labels,
        tap: &mut Option<mpsc::Sender<Piece>>,
        writer: Box<dyn Writer>,
    ) -> Result<()> {
        let offset = writer.status().offset;
        if let Some(open) = tap.as_ref().filter(|_| offset > 0) {
            let prefix: Box<dyn Reader> = writer.reader()?;
            let _ = open.send(Piece::Stored(prefix)).await;
        }
        let (pieces, waiting) = mpsc::channel(DEPTH);
        let (content, commit, member) = (self.content.clone(), commit(target, labels), self.group.clone());
        let thread = blocking("store a blob", move || {
            let _member = member;
            write(content.as_ref(), writer, waiting, &commit)
        });
        let thread = tokio::spawn(thread);
        let pumped = self.pump(target, offset, &pieces, tap).await;
        drop(pieces);
        let stored =
            thread.await.map_err(|source| Error::Internal { doing: "store a blob".into(), source: source.into() })?;
        // The writer's own failure ends the pump too, and says more.
        match (pumped, stored) {
            (Err(Pumped::Fetch(error)), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
            (Err(Pumped::Refused), Ok(())) | (Ok(()), Ok(())) => {
                if let Some(tap) = tap {
                    let _ = tap.send(Piece::End).await;
                }
                (self.report)(Progress::Stored(target.clone()));
                Ok(())
            }
        }
    }

    async fn pump(
        &self,
        target: &Descriptor,
        offset: u64,
        pieces: &mpsc::Sender<Bytes>,
        tap: &mut Option<mpsc::Sender<Piece>>,
    ) -> std::result::Result<(), Pumped> {
        let meter = Meter::new(&self.report, target, Progress::Fetched, offset);
        let mut stream: ByteStream = self.fetcher.fetch(target, offset).await.map_err(Pumped::Fetch)?;
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(Pumped::Fetch)?;
            if bytes.is_empty() {
                continue;
            }
            meter.add(bytes.len());
            pieces.send(bytes.clone()).await.map_err(|_| Pumped::Refused)?;
            if let Some(open) = tap
                && open.send(Piece::Bytes(bytes)).await.is_err()
            {
                // The layer was refused. The blob is stored all the same: its digest may tell why.
                *tap = None;
            }
        }
        // Nothing but this lets the writer commit.
        pieces.send(Bytes::new()).await.map_err(|_| Pumped::Refused)
    }
}

/// Why no more bytes are pumped.
enum Pumped {
    Fetch(wharf_fetch::Error),
    Refused,
}

/// Writes what comes and commits at the end, which is an empty piece. A channel that closes before leaves the ingest to be
/// gone on with.
fn write(
    content: &dyn wharf_content::ContentStore,
    mut writer: Box<dyn Writer>,
    mut pieces: mpsc::Receiver<Bytes>,
    commit: &Commit,
) -> Result<()> {
    while let Some(bytes) = pieces.blocking_recv() {
        if !bytes.is_empty() {
            writer.write(&bytes)?;
            continue;
        }
        let reference = writer.status().reference;
        return match writer.commit(commit) {
            Ok(_) => Ok(()),
            Err(ContentError::AlreadyExists(digest)) => labels::merge(content, &digest, &commit.labels),
            Err(error) => {
                drop(writer);
                if matches!(error, ContentError::WrongDigest { .. } | ContentError::WrongSize { .. }) {
                    // Wrong bytes are nothing to go on with.
                    content.abort(&reference)?;
                }
                Err(error.into())
            }
        };
    }
    Ok(())
}

/// The ingest of a blob, under the name that containerd would give it.
pub(crate) fn ingest(target: &Descriptor) -> Ingest {
    let reference = format!("{}-{}", Shape::of(&target.media_type).word(), target.digest);
    Ingest { reference, total: Some(target.size), expected: Some(target.digest.clone()) }
}

/// What must be true of a blob.
pub(crate) fn commit(target: &Descriptor, labels: &Labels) -> Commit {
    Commit { size: Some(target.size), expected: Some(target.digest.clone()), labels: labels.clone() }
}

fn is_mismatch(error: &Error) -> bool {
    matches!(error, Error::Content(ContentError::WrongDigest { .. } | ContentError::WrongSize { .. }))
}
