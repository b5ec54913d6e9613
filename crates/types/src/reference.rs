//! References: names of images, in Docker's normal form (distribution: `reference`).
//!
//! ```text
//! reference  = [ domain "/" ] path [ ":" tag ] [ "@" digest ]
//! domain     = host [ ":" port ]                    host: a name, an IPv4 address or an IPv6 address in brackets
//! path       = component *( "/" component )
//! component  = alnum *( separator alnum )           lower case; separator: "." / "_" / "__" / 1*"-"
//! tag        = 1 to 128 of letters, digits, "_", "." and "-", the first neither "." nor "-"
//! ```
//!
//! What stands before the first slash is a domain when it has a dot, a colon or an upper-case letter, or is
//! `localhost`; otherwise the image is Docker Hub's.

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::error::{ErrorKind, Kind};

/// The most characters that registry and repository may have together, with the slash between them.
pub const MAX_NAME: usize = 255;

/// The most characters a tag may have.
pub const MAX_TAG: usize = 128;

/// The registry of references that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The tag of references that have neither a tag nor a digest.
pub const DEFAULT_TAG: &str = "latest";

/// A text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image reference: {reason}")]
pub struct ParseError {
    /// The text, cut to its first 320 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// `registry/repository[:tag][@digest]`, never without a registry, and with the tag `latest` where neither a tag nor a
/// digest was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry's host with its port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry: `library/busybox`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository: `docker.io/library/busybox`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same name with this tag and without a digest.
    ///
    /// # Errors
    /// [`ParseError`] when `tag` is none.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseError> {
        check_tag(tag).map_err(|reason| refuse(tag, reason))?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name with this digest and without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).map_err(|reason| refuse(text, reason))
    }
}

fn refuse(text: &str, reason: &'static str) -> ParseError {
    ParseError { text: text.chars().take(320).collect(), reason }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err("64 hexadecimal digits name no image, they are a digest without its algorithm");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            (rest, Some(digest.parse().map_err(|_| "what follows '@' is no sha256 or sha512 digest")?))
        }
        None => (text, None),
    };
    let (registry, rest) = split_domain(rest);
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    check_domain(registry)?;
    check_path(path)?;
    tag.map_or(Ok(()), check_tag)?;
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository = if official { format!("library/{path}") } else { path.to_owned() };
    if registry.len() + 1 + repository.len() > MAX_NAME {
        return Err("its name has more than 255 characters");
    }
    let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
    Ok(Reference { registry: registry.to_owned(), repository, tag, digest })
}

/// The registry, Docker Hub where none is named, and what follows it.
fn split_domain(text: &str) -> (&str, &str) {
    let is_domain =
        |part: &str| part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase());
    match text.split_once('/') {
        // The name that Docker Hub had in old configurations.
        Some(("index.docker.io", rest)) => (DEFAULT_REGISTRY, rest),
        Some((domain, rest)) if is_domain(domain) => (domain, rest),
        _ => (DEFAULT_REGISTRY, text),
    }
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return Err("its registry is no IPv6 address in brackets");
            }
            let port = if rest.is_empty() { None } else { rest.strip_prefix(':').or(Some("")) };
            (None, port)
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err("its registry's port is no number");
    }
    let label = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    match host {
        Some(host) if !host.split('.').all(label) => Err("its registry is no host name"),
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("it names no repository");
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("a repository's name is in lower case");
    }
    if path.split('/').all(is_component) {
        Ok(())
    } else {
        Err(
            "a repository's name has lower-case letters and digits, with single '.', one or two '_' or any '-' between them, and '/'",
        )
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let is_alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(is_alnum).filter(|between| !between.is_empty());
    part.starts_with(is_alnum)
        && part.ends_with(is_alnum)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    if bytes.next().is_some_and(word) && tag.len() <= MAX_TAG && bytes.all(|b| word(b) || b == b'.' || b == b'-') {
        Ok(())
    } else {
        Err("a tag has 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
