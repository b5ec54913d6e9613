//! An ingest of a foreign store: one stream of requests, each answered with where the ingest stands.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Streaming};
use wharf_api::containerd::services::content::v1 as api;
use wharf_content::{Commit, ContentStore as _, Error, Info, Ingest, Reader, Result, Status, Writer};
use wharf_types::{Digest, ErrorKind};

use super::ProxyContent;
use crate::convert::{signed, time, unsigned};

/// The most bytes of one message.
const PIECE: usize = 1 << 20;

/// An open ingest.
pub(super) struct IngestWriter {
    store: ProxyContent,
    ingest: Ingest,
    status: Status,
    digest: Digest,
    /// Gone after a refusal, until the ingest is opened again; the plugin ends a stream that it refuses.
    stream: Mutex<Option<Stream>>,
    done: bool,
}

struct Stream {
    requests: mpsc::Sender<api::WriteContentRequest>,
    answers: Streaming<api::WriteContentResponse>,
}

impl IngestWriter {
    /// Opens the ingest where it stands.
    pub(super) fn open(store: ProxyContent, ingest: &Ingest) -> Result<Self> {
        let (stream, answer) = begin(&store, ingest)?;
        // What was known of it before is not in the answer.
        let status = store.status(&ingest.reference)?;
        let digest = digest(&store, &answer)?;
        Ok(Self { store, ingest: ingest.clone(), status, digest, stream: Mutex::new(Some(stream)), done: false })
    }

    /// Opens the ingest again after a refusal.
    fn again(&mut self) -> Result<()> {
        if self.done {
            return Err(Error::Done(self.ingest.reference.clone()));
        }
        if self.held().is_none() {
            // It must be the one that was there: opening one that was given up would begin it anew.
            let status = self.store.status(&self.ingest.reference)?;
            let (stream, answer) = begin(&self.store, &self.ingest)?;
            self.digest = digest(&self.store, &answer)?;
            self.status = Status { offset: unsigned(answer.offset), ..status };
            *self.held() = Some(stream);
        }
        Ok(())
    }

    /// Sends one request and takes in its answer.
    fn ask(&mut self, request: api::WriteContentRequest) -> Result<api::WriteContentResponse> {
        self.again()?;
        let Some(stream) = self.held().take() else { return Err(Error::Done(self.ingest.reference.clone())) };
        let doing = format!("write to ingest {:?}", self.ingest.reference);
        let asked = self.store.plugin.wait(doing, exchange(stream, request));
        let (stream, answer) = asked.map_err(|refusal| refusal.ingest(&self.ingest.reference))?;
        *self.held() = Some(stream);
        self.digest = digest(&self.store, &answer)?;
        self.status.offset = unsigned(answer.offset);
        if answer.updated_at.is_some() {
            self.status.updated_at = time(answer.updated_at);
        }
        Ok(answer)
    }

    fn held(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks where the ingest stands; nothing where it is not open or cannot be asked.
    fn stat(&self) -> Option<api::WriteContentResponse> {
        let mut open = self.held();
        let doing = format!("look at ingest {:?}", self.ingest.reference);
        let request = api::WriteContentRequest { action: api::WriteAction::Stat.into(), ..Default::default() };
        let asked = self.store.plugin.wait(doing, exchange(open.take()?, request));
        let (stream, answer) = asked.ok()?;
        *open = Some(stream);
        Some(answer)
    }

    fn request(&self, action: api::WriteAction) -> api::WriteContentRequest {
        let offset = signed(self.status.offset);
        api::WriteContentRequest { action: action.into(), offset, ..api::WriteContentRequest::default() }
    }
}

/// The plugin lets go of the reference when it has seen the stream's end: the next writer must not come before that.
impl Drop for IngestWriter {
    fn drop(&mut self) {
        let Some(Stream { requests, mut answers }) = self.held().take() else { return };
        drop(requests);
        let ended = async move {
            while answers.message().await?.is_some() {}
            Ok(())
        };
        // What the plugin says now changes nothing any more.
        let _ = self.store.plugin.wait(format!("close ingest {:?}", self.ingest.reference), ended);
    }
}

/// Opens the stream and asks where the ingest stands.
fn begin(store: &ProxyContent, ingest: &Ingest) -> Result<(Stream, api::WriteContentResponse)> {
    let first = api::WriteContentRequest {
        action: api::WriteAction::Stat.into(),
        r#ref: ingest.reference.clone(),
        total: signed(ingest.total.unwrap_or_default()),
        expected: ingest.expected.as_ref().map(Digest::to_string).unwrap_or_default(),
        ..api::WriteContentRequest::default()
    };
    let (requests, sent) = mpsc::channel(1);
    let (mut client, request) = (store.client(), store.plugin.request(ReceiverStream::new(sent)));
    let opened = async move {
        // A server may answer nothing, not even headers, before the first request.
        let _ = requests.send(first).await;
        let mut answers = client.write(request).await.map(Response::into_inner)?;
        let answer = answers.message().await?.ok_or_else(ended)?;
        Ok((Stream { requests, answers }, answer))
    };
    let doing = format!("open ingest {:?}", ingest.reference);
    store.plugin.wait(doing, opened).map_err(|refusal| refusal.ingest(&ingest.reference))
}

async fn exchange(
    mut stream: Stream,
    request: api::WriteContentRequest,
) -> std::result::Result<(Stream, api::WriteContentResponse), tonic::Status> {
    // Where the plugin ended the stream its reason is the next that comes.
    let _ = stream.requests.send(request).await;
    let answer = stream.answers.message().await?.ok_or_else(ended)?;
    Ok((stream, answer))
}

fn ended() -> tonic::Status {
    tonic::Status::unavailable("the plugin ended the stream")
}

fn digest(store: &ProxyContent, answer: &api::WriteContentResponse) -> Result<Digest> {
    answer.digest.parse().map_err(|error| store.odd(format!("{error}")))
}

impl Writer for IngestWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.again()?;
        for piece in bytes.chunks(PIECE) {
            let stands = self.status.offset;
            let request = self.request(api::WriteAction::Write);
            self.ask(api::WriteContentRequest { data: piece.to_vec().into(), ..request })?;
            if self.status.offset != stands + piece.len() as u64 {
                return Err(self.store.odd(format!("{} bytes were written, it took fewer", piece.len())));
            }
        }
        Ok(())
    }

    fn status(&self) -> Status {
        // When it was written last is nothing that the answer to a write says.
        let updated_at = self.stat().map_or(self.status.updated_at, |answer| time(answer.updated_at));
        Status { updated_at, ..self.status.clone() }
    }

    fn digest(&self) -> Digest {
        self.digest.clone()
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        let doing = format!("read ingest {:?}", self.ingest.reference);
        let source = "the API has no way to read an ingest before it is committed".into();
        Err(Error::Other { doing, kind: ErrorKind::Unimplemented, source })
    }

    fn truncate(&mut self) -> Result<()> {
        self.again()?;
        let request = self.request(api::WriteAction::Write);
        self.ask(api::WriteContentRequest { offset: 0, ..request }).map(drop)
    }

    fn commit(&mut self, commit: &Commit) -> Result<Info> {
        self.again()?;
        if let Some(expected) = commit.size.filter(|&size| size != self.status.offset) {
            let (reference, actual) = (self.ingest.reference.clone(), self.status.offset);
            return Err(Error::WrongSize { reference, actual, expected });
        }
        let request = api::WriteContentRequest {
            total: signed(commit.size.unwrap_or_default()),
            expected: commit.expected.as_ref().map(Digest::to_string).unwrap_or_default(),
            labels: commit.labels.clone().into_iter().collect(),
            ..self.request(api::WriteAction::Commit)
        };
        let would_be = commit.expected.clone().unwrap_or_else(|| self.digest.clone());
        match self.ask(request) {
            Ok(_) => {
                self.done = true;
                *self.held() = None;
                self.store.info(&self.digest)
            }
            Err(Error::Other { kind: ErrorKind::AlreadyExists, .. }) => {
                self.done = true;
                Err(Error::AlreadyExists(would_be))
            }
            Err(error) => Err(error),
        }
    }
}
