//! The stream that writes a blob: each request is answered with where the ingest stands.

use std::sync::Arc;

use futures::{Stream, stream};
use tonic::{Status, Streaming};
use wharf_api::containerd::services::content::v1::{WriteAction, WriteContentRequest, WriteContentResponse};
use wharf_content::{Commit, ContentStore, Ingest, Writer};
use wharf_types::{Digest, Kind};

use crate::blocking::blocking;
use crate::convert::{labels, optional_digest, signed, timestamp, unsigned};
use crate::refuse::refuse;

/// One write as it goes on: what the client sends, and the ingest once it is open.
struct Session {
    store: Arc<dyn ContentStore>,
    requests: Streaming<WriteContentRequest>,
    open: Option<Open>,
    done: bool,
}

/// An open ingest and what is known of its blob. Dropped, it leaves the bytes for the next writer.
struct Open {
    reference: String,
    writer: Box<dyn Writer>,
    total: Option<u64>,
    expected: Option<Digest>,
}

/// Answers each request in its order until a commit, an error, or the client's end of the stream.
pub(super) fn responses(
    store: Arc<dyn ContentStore>,
    requests: Streaming<WriteContentRequest>,
) -> impl Stream<Item = Result<WriteContentResponse, Status>> + Send {
    let session = Session { store, requests, open: None, done: false };
    stream::try_unfold(session, |mut session| async move {
        if session.done {
            return Ok(None);
        }
        let Some(request) = session.requests.message().await? else {
            // The ingest stays, to be gone on with.
            return Ok(None);
        };
        session.done = request.action() == WriteAction::Commit;
        let (store, open) = (Arc::clone(&session.store), session.open.take());
        let (response, open) = blocking(move || {
            let mut open = match open {
                Some(open) => open,
                None => Open::begin(&*store, &request)?,
            };
            let response = open.answer(&*store, request)?;
            Ok((response, open))
        })
        .await?;
        session.open = Some(open).filter(|_| !session.done);
        Ok(Some((response, session)))
    })
}

impl Open {
    /// Opens the ingest that the first request names.
    fn begin(store: &dyn ContentStore, request: &WriteContentRequest) -> Result<Self, Status> {
        if request.r#ref.is_empty() {
            return Err(Status::invalid_argument("the first message of a write has to name a reference"));
        }
        let reference = request.r#ref.clone();
        let total = Some(unsigned("total", request.total)?).filter(|&total| total > 0);
        let expected = optional_digest(&request.expected)?;
        let ingest = Ingest { reference: reference.clone(), total, expected: expected.clone() };
        let writer = store.writer(&ingest).map_err(refuse)?;
        Ok(Self { reference, writer, total, expected })
    }

    /// Does what a request asks and says where the ingest stands then.
    fn answer(
        &mut self,
        store: &dyn ContentStore,
        request: WriteContentRequest,
    ) -> Result<WriteContentResponse, Status> {
        self.expect(store, &request)?;
        let action = request.action();
        let mut response = WriteContentResponse { action: action.into(), ..Default::default() };
        match action {
            WriteAction::Stat => {
                let status = self.writer.status();
                response.offset = signed(status.offset);
                response.started_at = Some(timestamp(status.started_at));
                response.updated_at = Some(timestamp(status.updated_at));
                response.total = signed(self.total.unwrap_or_default());
                response.digest = self.writer.digest().to_string();
            }
            WriteAction::Write => {
                response.offset = signed(self.append(request.offset, &request.data)?);
                response.digest = self.writer.digest().to_string();
            }
            WriteAction::Commit => {
                response.offset = signed(self.append(request.offset, &request.data)?);
                let labels = labels(request.labels);
                let commit = Commit { size: self.total, expected: self.expected.clone(), labels };
                response.digest = self.writer.commit(&commit).map_err(refuse)?.digest.to_string();
            }
        }
        Ok(response)
    }

    /// Takes what a request says of the blob's size and digest. The last word counts, as with containerd.
    fn expect(&mut self, store: &dyn ContentStore, request: &WriteContentRequest) -> Result<(), Status> {
        if let total @ 1.. = unsigned("total", request.total)? {
            self.total = Some(total);
        }
        let Some(expected) = optional_digest(&request.expected)? else {
            return Ok(());
        };
        if store.info(&expected).is_ok() {
            let exists = format!("content {expected}: already exists");
            if let Err(error) = store.abort(&self.reference)
                && error.kind() != wharf_types::ErrorKind::NotFound
            {
                tracing::warn!(reference = self.reference, %error, "an ingest that is not needed stays");
            }
            return Err(Status::already_exists(exists));
        }
        self.expected = Some(expected);
        Ok(())
    }

    /// Appends at `offset`, which is where the ingest stands, or 0 to begin again. Returns where it stands then.
    fn append(&mut self, offset: i64, data: &[u8]) -> Result<u64, Status> {
        let (offset, stands) = (unsigned("offset", offset)?, self.writer.status().offset);
        if offset == 0 && stands > 0 {
            self.writer.truncate().map_err(refuse)?;
        } else if offset != stands {
            return Err(Status::out_of_range(format!(
                "ingest {:?}: write at {offset}, it stands at {stands}",
                self.reference
            )));
        }
        if !data.is_empty() {
            self.writer.write(data).map_err(refuse)?;
        }
        Ok(self.writer.status().offset)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
