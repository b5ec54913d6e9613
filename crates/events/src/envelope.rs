//! What is asked of an event before it is handed on.

use std::borrow::Cow;

use wharf_types::Id;
use wharf_types::filter::Fields;

use crate::{Decoder, Envelope, Error, Result};

/// Refuses topics other than `/part/part…`, each part an identifier (containerd: `core/events/exchange`).
pub(crate) fn check_topic(topic: &str) -> Result<()> {
    let shown = || topic.chars().take(160).collect();
    let parts = topic.strip_prefix('/').ok_or_else(|| Error::Relative { topic: shown() })?;
    for part in parts.split('/') {
        part.parse::<Id>().map_err(|source| Error::Part { topic: shown(), source })?;
    }
    Ok(())
}

impl Envelope {
    /// What the event takes in a queue, in bytes, with something for what holds it together.
    pub(crate) fn cost(&self) -> usize {
        let held_together = 128;
        self.namespace.as_str().len()
            + self.topic.len()
            + self.event.type_url.len()
            + self.event.value.len()
            + held_together
    }
}

/// An envelope that can be asked what is in its event too.
pub(crate) struct Known<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) decoder: Option<Decoder>,
}

impl Fields for Known<'_> {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["topic"] => Some(self.envelope.topic.as_str().into()),
            ["namespace"] => Some(self.envelope.namespace.as_str().into()),
            ["event", path @ ..] => self.decoder.and_then(|field| field(&self.envelope.event, path)).map(Cow::Owned),
            _ => None,
        }
    }
}
