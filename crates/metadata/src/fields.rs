//! What filters may ask of records (containerd: `core/metadata/adaptors.go`), and what all records have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;

use wharf_types::filter::Fields;
use wharf_types::{Labels, labels};

use crate::{Activation, Container, Error, Image, Lease, NamespaceRecord, Result, Sandbox};

/// A label's key may have points of its own, which a filter may leave unquoted.
fn value<'a>(map: &'a BTreeMap<String, String>, key: &[&str]) -> Option<Cow<'a, str>> {
    map.get(&key.join(".")).map(Into::into)
}

impl Fields for Image {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name"] => Some((&self.name).into()),
            ["target", "digest"] => Some(self.target.digest.to_string().into()),
            ["target", "mediatype"] => Some((&self.target.media_type).into()),
            ["labels", key @ ..] => value(&self.labels, key),
            ["annotations", key @ ..] => value(&self.target.annotations, key),
            _ => None,
        }
    }
}

impl Fields for Container {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id"] => Some((&self.id).into()),
            ["image"] => Some((&self.image).into()),
            ["runtime", "name"] => Some((&self.runtime.name).into()),
            ["labels", key @ ..] => value(&self.labels, key),
            _ => None,
        }
    }
}

impl Fields for Lease {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id"] => Some((&self.id).into()),
            ["labels", key @ ..] => value(&self.labels, key),
            _ => None,
        }
    }
}

impl Fields for Sandbox {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["id"] => Some((&self.id).into()),
            ["labels", key @ ..] => value(&self.labels, key),
            _ => None,
        }
    }
}

impl Fields for Activation {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name"] => Some((&self.name).into()),
            ["labels", key @ ..] => value(&self.labels, key),
            _ => None,
        }
    }
}

impl Fields for NamespaceRecord {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name"] => Some(self.name.as_str().into()),
            ["labels", key @ ..] => value(&self.labels, key),
            _ => None,
        }
    }
}

/// Labels as they are stored: none is too long, and one with an empty value is one that is not there.
pub(crate) fn checked(what: &str, name: &str, mut labels: Labels) -> Result<Labels> {
    labels::validate(&labels).map_err(|e| Error::Invalid(format!("{what} {name:?}: {e}")))?;
    labels.retain(|_, value| !value.is_empty());
    Ok(labels)
}

/// Sets one key of a map to what it is in another; an absent or empty value removes it.
pub(crate) fn set(map: &mut BTreeMap<String, String>, key: &str, from: &BTreeMap<String, String>) {
    match from.get(key).filter(|value| !value.is_empty()) {
        Some(value) => drop(map.insert(key.to_owned(), value.clone())),
        None => drop(map.remove(key)),
    }
}
