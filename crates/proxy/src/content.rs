//! A foreign content store.

mod reader;
mod writer;

use tonic::Response;
use tonic::transport::Channel;
use wharf_api::containerd::services::content::v1 as api;
use wharf_api::containerd::services::content::v1::content_client::ContentClient;
use wharf_content::{ContentStore, Info, Ingest, Reader, Result, Status, Writer};
use wharf_types::{Digest, Filters, LabelChange};

use crate::convert::{change, time, unsigned};
use crate::plugin::MAX_MESSAGE;
use crate::{Plugin, Refusal};

/// The content store that a plugin serves. The API cannot read what an ingest has so far: [`Writer::reader`] is
/// `Unimplemented`.
#[derive(Clone, Debug)]
pub struct ProxyContent {
    plugin: Plugin,
}

/// Calls a method about a blob or an ingest and waits for the answer.
macro_rules! ask {
    ($this:ident.$method:ident($what:expr, $message:expr)) => {{
        let (mut client, request) = ($this.client(), $this.plugin.request($message));
        let doing = format!(concat!(stringify!($method), " of {:?}"), $what);
        $this.plugin.wait(doing, async move { client.$method(request).await.map(Response::into_inner) })
    }};
}

impl ProxyContent {
    /// Over `plugin`.
    #[must_use]
    pub fn new(plugin: Plugin) -> Self {
        Self { plugin }
    }

    fn client(&self) -> ContentClient<Channel> {
        let client = ContentClient::new(self.plugin.channel());
        client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE)
    }

    fn odd(&self, reason: impl Into<String>) -> wharf_content::Error {
        Refusal::odd(&self.plugin, "look at content", reason).content()
    }

    fn read(&self, found: Option<api::Info>) -> Result<Info> {
        let info = found.ok_or_else(|| self.odd("the answer has no info"))?;
        Ok(Info {
            digest: info.digest.parse().map_err(|error| self.odd(format!("{error}")))?,
            size: unsigned(info.size),
            created_at: time(info.created_at),
            updated_at: time(info.updated_at),
            labels: info.labels.into_iter().collect(),
        })
    }

    fn read_status(&self, found: Option<api::Status>) -> Result<Status> {
        let status = found.ok_or_else(|| self.odd("the answer has no status"))?;
        let expected = Some(status.expected.as_str()).filter(|expected| !expected.is_empty());
        Ok(Status {
            offset: unsigned(status.offset),
            total: Some(unsigned(status.total)).filter(|&total| total > 0),
            expected: expected.map(str::parse).transpose().map_err(|error| self.odd(format!("{error}")))?,
            started_at: time(status.started_at),
            updated_at: time(status.updated_at),
            reference: status.r#ref,
        })
    }

    fn list(&self) -> Result<Vec<api::Info>> {
        let doing = "list content";
        let (mut client, request) = (self.client(), self.plugin.request(api::ListContentRequest::default()));
        let opened = self.plugin.wait(doing, async move { client.list(request).await.map(Response::into_inner) });
        let (mut stream, mut all) = (opened.map_err(Refusal::content)?, Vec::new());
        loop {
            let next = async move { stream.message().await.map(|next| (next, stream)) };
            let (next, rest) = self.plugin.wait(doing, next).map_err(Refusal::content)?;
            let Some(next) = next else { return Ok(all) };
            all.extend(next.info);
            stream = rest;
        }
    }
}

impl ContentStore for ProxyContent {
    fn info(&self, digest: &Digest) -> Result<Info> {
        let message = api::InfoRequest { digest: digest.to_string() };
        self.read(ask!(self.info(digest, message)).map_err(|refusal| refusal.blob(digest))?.info)
    }

    fn update(&self, digest: &Digest, wanted: &LabelChange) -> Result<Info> {
        let Some((labels, mask)) = change(wanted) else { return self.info(digest) };
        let labels = labels.into_iter().collect();
        let info = api::Info { digest: digest.to_string(), labels, ..api::Info::default() };
        let message = api::UpdateRequest { info: Some(info), update_mask: Some(mask) };
        self.read(ask!(self.update(digest, message)).map_err(|refusal| refusal.blob(digest))?.info)
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        // Filtered here: ours say more than a plugin may understand.
        for found in self.list()? {
            let info = self.read(Some(found))?;
            if filters.matches(&info) {
                visit(info)?;
            }
        }
        Ok(())
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        let message = api::DeleteContentRequest { digest: digest.to_string() };
        ask!(self.delete(digest, message)).map_err(|refusal| refusal.blob(digest))
    }

    fn reader(&self, digest: &Digest) -> Result<Box<dyn Reader>> {
        let size = self.info(digest)?.size;
        Ok(Box::new(reader::BlobReader::open(self.clone(), digest, size)?))
    }

    fn writer(&self, ingest: &Ingest) -> Result<Box<dyn Writer>> {
        Ok(Box::new(writer::IngestWriter::open(self.clone(), ingest)?))
    }

    fn status(&self, reference: &str) -> Result<Status> {
        let message = api::StatusRequest { r#ref: reference.to_owned() };
        self.read_status(ask!(self.status(reference, message)).map_err(|refusal| refusal.ingest(reference))?.status)
    }

    fn statuses(&self, filters: &Filters) -> Result<Vec<Status>> {
        let answer = ask!(self.list_statuses("", api::ListStatusesRequest::default())).map_err(Refusal::content)?;
        let all = answer.statuses.into_iter().map(|status| self.read_status(Some(status)));
        all.filter(|status| status.as_ref().map_or(true, |status| filters.matches(status))).collect()
    }

    fn abort(&self, reference: &str) -> Result<()> {
        let message = api::AbortRequest { r#ref: reference.to_owned() };
        ask!(self.abort(reference, message)).map_err(|refusal| refusal.ingest(reference))
    }
}
