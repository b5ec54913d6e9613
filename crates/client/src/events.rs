//! Events as they happen.

use futures::{Stream, StreamExt as _};
use wharf_api::containerd::services::events::v1::SubscribeRequest;
use wharf_api::containerd::types::Envelope;

use crate::{Client, Error, Result};

impl Client {
    /// Subscribes to the events that one of `filters` matches (none: all), of every namespace. The stream ends with an error
    /// when the server had to drop events because this side was too slow.
    ///
    /// # Errors
    /// `InvalidArgument` for a filter that does not parse.
    pub async fn events(
        &self,
        filters: &[&str],
    ) -> Result<impl Stream<Item = Result<Envelope>> + Send + Unpin + use<>> {
        let request = SubscribeRequest { filters: filters.iter().map(ToString::to_string).collect() };
        let answer = self.events_service().subscribe(request).await.map_err(Error::during("subscribe to events"))?;
        Ok(answer.into_inner().map(|event| event.map_err(Error::during("receive events"))))
    }
}
