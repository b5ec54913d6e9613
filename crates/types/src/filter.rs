//! Filters: which objects a list or a subscription wants, in containerd's grammar (containerd: `pkg/filters`).
//!
//! ```text
//! filter   = selector *( "," selector )             all of them must match
//! selector = path [ operator value ]                without operator: the object has the field
//! path     = field *( "." field )
//! field    = quoted / 1*( letter / digit / "_" / "-" )
//! operator = "==" / "!=" / "~="                     "~=" takes a regular expression, found anywhere in the value
//! value    = quoted / 1*( any character but white space and "," )
//! quoted   = a Go string in double quotes; the pattern of "~=" may stand between "/" or "|" too
//! ```
//!
//! White space may stand before a field, an operator and a value. An empty filter matches everything.
//!
//! ```
//! use wharf_types::{Filters, Labels};
//!
//! let filters = Filters::parse(&["env==prod,team~=/^(red|blue)$/", "\"odd key\""])?;
//! let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
//! assert!(filters.matches(&Labels::from([label("env", "prod"), label("team", "blue")])));
//! assert!(filters.matches(&Labels::from([label("odd key", "")])));
//! assert!(!filters.matches(&Labels::from([label("env", "prod")])));
//! # Ok::<(), wharf_types::filter::ParseError>(())
//! ```

mod parser;

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use crate::Labels;
use crate::error::{ErrorKind, Kind};

/// The most bytes a filter may have.
pub const MAX_BYTES: usize = 64 << 10;

/// The most bytes a compiled regular expression may take, so that a short pattern cannot become a large program.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// What a filter may ask of an object: `labels.foo` is the path `["labels", "foo"]`.
pub trait Fields {
    /// The value of a field, or nothing where the object does not have it.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;
}

/// Labels as an object: the whole path is the key, so `a.b` is the label `a.b`, written with or without quotes.
impl Fields for Labels {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        self.get(&path.join(".")).map(Into::into)
    }
}

/// A function as an object: it is called with the path.
#[derive(Clone, Copy, Debug)]
pub struct FieldsFn<F>(pub F);

impl<F: Fn(&[&str]) -> Option<String>> Fields for FieldsFn<F> {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        (self.0)(path).map(Cow::Owned)
    }
}

/// A filter that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {filter:?}: {reason} at character {position}")]
pub struct ParseError {
    /// The filter, cut to its first 320 characters.
    pub filter: String,
    /// What is wrong.
    pub reason: String,
    /// Where, in characters from 0.
    pub position: usize,
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Several filters, of which one must match; none at all match everything. Clones share what was parsed.
#[derive(Clone, Debug, Default)]
pub struct Filters(Arc<[Filter]>);

/// Selectors, all of which must match.
type Filter = Vec<Selector>;

/// What is asked of one field.
#[derive(Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Matches(Regex),
}

impl Filters {
    /// The filters that match everything.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Parses each of `filters`.
    ///
    /// # Errors
    /// [`ParseError`] names the first that does not parse, and where. A filter of more than [`MAX_BYTES`] and a regular
    /// expression of more than [`MAX_REGEX_BYTES`] do not parse.
    pub fn parse<S: AsRef<str>>(filters: &[S]) -> Result<Self, ParseError> {
        filters.iter().map(|filter| parser::parse(filter.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// True when one of the filters matches, or there are none.
    #[must_use]
    pub fn matches(&self, object: &dyn Fields) -> bool {
        self.0.is_empty() || self.0.iter().any(|filter| filter.iter().all(|selector| selector.matches(object)))
    }
}

impl Selector {
    fn matches(&self, object: &dyn Fields) -> bool {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let value = object.field(&path);
        match &self.test {
            Test::Present => value.is_some(),
            Test::Equal(wanted) => value.is_some_and(|value| value == *wanted),
            // What is not there is like an empty text to these two, as clients expect: `parent!=""` finds those with one.
            Test::NotEqual(unwanted) => value.unwrap_or_default() != *unwanted,
            Test::Matches(regex) => regex.is_match(&value.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests;
