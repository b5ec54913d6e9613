//! What filters may ask of blobs and ingests.

use std::borrow::Cow;

use wharf_types::filter::Fields;

use crate::{Info, Status};

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["digest"] => Some(self.digest.to_string().into()),
            ["size"] => Some(self.size.to_string().into()),
            ["labels", key @ ..] => self.labels.field(key),
            _ => None,
        }
    }
}

impl Fields for Status {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["ref"] => Some((&self.reference).into()),
            _ => None,
        }
    }
}
