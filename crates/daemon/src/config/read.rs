//! Reading the file: what cannot be used is refused with its line, what is not known is warned of with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, keys};

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/wharf/config.toml";

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
    /// It is no TOML, or something in it has the wrong type or value.
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

/// Something in the file that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The key, with those of the tables around it.
    pub key: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "configuration {}:{}: {} is not known here and has no effect",
            self.path.display(),
            self.line,
            self.key
        )
    }
}

/// Reads `path`, or without one [`DEFAULT_PATH`] where that exists.
///
/// # Errors
/// [`Error`] names the file and the line.
pub fn read(path: Option<&Path>) -> Result<(Config, Vec<Warning>), Error> {
    let (path, named) = (path.unwrap_or(Path::new(DEFAULT_PATH)), path.is_some());
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => Ok((Config::default(), Vec::new())),
        Err(source) => Err(Error::Read { path: path.display().to_string(), source }),
    }
}

fn parse(path: &Path, text: &str) -> Result<(Config, Vec<Warning>), Error> {
    let refused = |line, reason: String| Error::Parse { path: path.display().to_string(), line, reason };
    let wrong = |error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        refused(line_of(text, at), error.message().trim().replace('\n', ", "))
    };
    let config: Config = toml::from_str(text).map_err(wrong)?;
    let line = |key: &str| keys::line_of(text, key).unwrap_or(1);
    if !(1..=4).contains(&config.version) {
        return Err(refused(line("version"), format!("version {} is not known: 2 and 3 are", config.version)));
    }
    for (key, directory) in [("root", &config.root), ("state", &config.state)] {
        if !directory.is_absolute() {
            return Err(refused(line(key), format!("{key} {directory:?} is not an absolute path")));
        }
    }
    let pause = config.plugins.gc.pause_threshold;
    if !(0.0..=0.5).contains(&pause) {
        let reason = format!("pause_threshold {pause} is out of bounds: 0 to 0.5 can be kept");
        return Err(refused(line("pause_threshold"), reason));
    }
    let unknown = keys::unknown(text).map_err(wrong)?;
    let warning = |(at, key)| Warning { path: path.to_owned(), line: line_of(text, at), key };
    Ok((config, unknown.into_iter().map(warning).collect()))
}

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Config, Vec<Warning>), Error> {
        parse(Path::new("/etc/x.toml"), text)
    }

    #[test]
    fn the_default_reads_as_itself() {
        let text = toml::to_string_pretty(&Config::default()).unwrap();
        let (config, warnings) = read(&text).unwrap();
        assert_eq!((config, warnings), (Config::default(), Vec::new()), "{text}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, words) in [
            ("version = 3\nroot = [", 2, "array"),
            ("root = '/x'\n\n[grpc]\nuid = 'me'\n", 4, "invalid type"),
            ("[debug]\nlevel = 'loud'\n", 2, "unknown variant"),
            ("[plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = 'soon'\n", 2, "no duration"),
            ("\nversion = 9\n", 2, "version 9"),
            ("version = 2\nstate = 'run'\n", 2, "absolute"),
            ("[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.9\n", 2, "0.5"),
            ("\u{0}\u{1}binary", 1, ""),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("configuration /etc/x.toml:{line}: ")), "{text:?}: {error}");
            assert!(error.contains(words), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn what_dockerd_writes_is_taken() {
        let text = "version = 2\nroot = '/var/lib/docker/containerd/daemon'\nstate = '/run/docker/containerd/daemon'\n\
            disabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\naddress = '/run/docker/containerd/containerd.sock'\n\
            [debug]\nlevel = ''\nformat = ''\n[timeouts]\n'io.containerd.timeout.shim.load' = '5s'\n";
        let (config, warnings) = read(text).unwrap();
        assert_eq!(config.ttrpc_address(), Path::new("/run/docker/containerd/containerd.sock.ttrpc"));
        assert_eq!((config.debug.level, warnings), (crate::config::Level::Info, Vec::new()));
    }

    #[test]
    fn what_is_not_known_is_warned_of_with_its_line() {
        let text = "version = 3\ncolour = 'red'\n[grpc]\naddress = '/a'\nport = 1\n\n[nonsense]\nx = 1\n";
        let (_, warnings) = read(text).unwrap();
        let seen: Vec<_> = warnings.iter().map(|w| (w.line, w.key.as_str())).collect();
        assert_eq!(seen, [(2, "colour"), (5, "grpc.port"), (7, "nonsense")]);
        assert!(warnings[1].to_string().contains("/etc/x.toml:5: grpc.port is not known"));
    }
}
