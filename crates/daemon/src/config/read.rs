//! Reading the files: what cannot be used is refused with its line, what is not known is warned of with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::files::{self, Source};
use super::{Config, check, keys, lift};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or something in it has the wrong type or value, or says what another part contradicts.
    #[error("configuration {path}:{line}: {reason} (line {line})")]
    Parse {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// Something in a file that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, with those of the tables around it.
    pub key: String,
    /// What is the matter with it.
    pub reason: String,
    /// Nobody misses it.
    pub minor: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration {}:{}: {} {}", self.path.display(), self.line, self.key, self.reason)
    }
}

/// Reads `path`, or without one [`super::DEFAULT_PATH`] where that exists; what it imports; and `conf.d/*.toml` beside it. Later
/// files count over earlier ones.
///
/// # Errors
/// [`Error`] names the file and the line.
pub fn read(path: Option<&Path>) -> Result<(Config, Vec<Warning>), Error> {
    joined(&files::all(path)?)
}

fn joined(sources: &[Source]) -> Result<(Config, Vec<Warning>), Error> {
    let mut warnings = Vec::new();
    for source in sources {
        // Each by itself, so that what is wrong is found where it stands.
        alone(source)?;
        let unknown = keys::unknown(&source.text).map_err(|error| wrong(&source.path, &source.text, &error))?;
        warnings.extend(unknown.into_iter().map(|(at, key)| {
            let (path, line) = (source.path.clone(), line_of(&source.text, at));
            Warning { path, line, key, reason: "is not known here and has no effect".to_owned(), minor: false }
        }));
    }
    let merged = merged(sources);
    let config: Config = Value::Table(merged.clone()).try_into().map_err(|error| anywhere(sources, &error))?;
    check::check(&config, sources)?;
    warnings.extend(check::unused(sources, &merged, &config));
    Ok((config, warnings))
}

/// All files as one, each key in its place.
fn merged(sources: &[Source]) -> Table {
    let mut merged = Table::new();
    for source in sources {
        let mut table = source.table.clone();
        lift::lift(&mut table);
        files::merge(&mut merged, table);
    }
    merged
}

/// Refuses a file that is wrong whatever the others say.
fn alone(source: &Source) -> Result<(), Error> {
    let Source { path, text, table } = source;
    let config: Config = toml::from_str(text).map_err(|error| wrong(path, text, &error))?;
    if !(2..=4).contains(&config.version) {
        let line = keys::line_of(text, &["version"]).unwrap_or(1);
        let reason = format!("version {} is not known: 2, 3 and 4 are", config.version);
        return Err(Error::Parse { path: path.display().to_string(), line, reason });
    }
    let mut lifted = table.clone();
    lift::lift(&mut lifted);
    let read: Result<Config, _> = Value::Table(lifted).try_into();
    read.map(drop).map_err(|error| anywhere(std::slice::from_ref(source), &error))
}

/// A file that is no TOML, or has something of the wrong type.
pub(super) fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line = line_of(text, error.span().map_or(0, |span| span.start));
    let reason = error.message().trim().replace('\n', ", ");
    Error::Parse { path: path.display().to_string(), line, reason }
}

/// Something of the wrong type in a place that has another name here: the key is all that is known of it.
fn anywhere(sources: &[Source], error: &toml::de::Error) -> Error {
    let said = error.to_string();
    let key = said.lines().last().and_then(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    let key: Vec<&str> = key.unwrap_or_default().split('.').collect();
    let found = sources.iter().rev().find_map(|source| Some((source, keys::line_of(&source.text, &key)?)));
    let (path, line) = match found {
        Some((source, line)) => (source.path.display().to_string(), line),
        None => (sources.first().map(|source| source.path.display().to_string()).unwrap_or_default(), 1),
    };
    Error::Parse { path, line, reason: error.message().trim().replace('\n', ", ") }
}

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}
