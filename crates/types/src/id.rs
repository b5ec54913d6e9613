//! Identifiers of namespaces, containers, execs and leases.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, Kind};

/// The most characters an identifier may have (containerd: `pkg/identifiers`).
pub const MAX_LEN: usize = 76;

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an identifier: wanted 1 to 76 letters and digits, with single '.', '_' or '-' between them")]
pub struct ParseError {
    /// The text, cut to its first 160 characters.
    pub text: String,
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Letters and digits with single `.`, `_` or `-` between them, at most [`MAX_LEN`]: safe as a file's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// The identifier of a namespace: names do not cross namespaces.
pub type Namespace = Id;

impl Id {
    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if well_formed(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError { text: text.chars().take(160).collect() })
        }
    }
}

/// `^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$`
fn well_formed(text: &str) -> bool {
    text.len() <= MAX_LEN
        && text.split(['.', '_', '-']).all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

impl TryFrom<String> for Id {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_containerd_takes() {
        for text in ["default", "k8s.io", "a-b_c.d", "0", &"a".repeat(76)] {
            assert!(text.parse::<Id>().is_ok(), "{text} was refused");
        }
        for text in ["", "-a", "a-", "a..b", "a/b", "..", "a b", "ü", &"a".repeat(77)] {
            assert!(text.parse::<Id>().is_err(), "{text} was taken");
        }
    }
}
