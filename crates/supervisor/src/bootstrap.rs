//! What a starting shim is told, and what it answers.
//!
//! Since containerd 2.3 standard input carries `BootstrapParams`; before, it carried the runtime's options as an `Any`, or
//! nothing, and shims that read it refuse the new form. So our own shim gets the new form, any other the old one first, and
//! the new one where it asks for that. The answer's form is told from its bytes.

use std::path::{Path, PathBuf};

use prost::Message as _;
use serde::{Deserialize, Serialize};
use wharf_api::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult, Extension, LogLevel};
use wharf_types::{Any, Id, Namespace};

use crate::config::Config;
use crate::convert::any_out;
use crate::error::{Error, Result};

/// The newest version of the task API that is spoken here.
const NEWEST: i32 = 3;

/// The form of a shim's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `BootstrapParams`.
    Params,
    /// The options as an `Any`, or nothing.
    Options,
}

impl Form {
    /// The form to begin with.
    pub(crate) fn of(program: &Path) -> Self {
        let ours = program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("containerd-shim-wharf-"));
        if ours { Self::Params } else { Self::Options }
    }

    /// True when a shim that was given the old form says that it wanted the new one (containerd: `pkg/shim/compat.go`).
    pub(crate) fn wants_params(self, error: &Error) -> bool {
        let Error::Program { words, .. } = error else { return false };
        self == Self::Options && (words.contains("bootstrap param") || words.contains("deprecated API"))
    }

    /// The bytes of standard input.
    pub(crate) fn input(self, config: &Config, namespace: &Namespace, id: &Id, options: Option<&Any>) -> Vec<u8> {
        match self {
            Self::Options => options.map(|options| any_out(options).encode_to_vec()).unwrap_or_default(),
            Self::Params => BootstrapParams {
                instance_id: id.to_string(),
                namespace: namespace.to_string(),
                log_level: if config.debug { LogLevel::Debug } else { LogLevel::Info }.into(),
                containerd_version: env!("CARGO_PKG_VERSION").to_owned(),
                containerd_ttrpc_address: config.ttrpc_address.clone(),
                containerd_grpc_address: config.address.clone(),
                containerd_binary: crate::program::publisher(),
                extensions: options.map(|options| Extension { value: Some(any_out(options)) }).into_iter().collect(),
                socket_dir: None,
            }
            .encode_to_vec(),
        }
    }
}

/// Where a shim serves, as `bootstrap.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The version of the task API: 2 or 3.
    pub(crate) version: i32,
    /// `unix://` and a path.
    pub(crate) address: String,
    /// `ttrpc`.
    #[serde(default = "ttrpc")]
    pub(crate) protocol: String,
}

fn ttrpc() -> String {
    "ttrpc".to_owned()
}

impl Endpoint {
    /// Reads a shim's answer, in whichever form, or the file that keeps it.
    ///
    /// # Errors
    /// `Unimplemented` with what was answered, for rubbish and for what is not spoken here.
    pub(crate) fn parse(program: &Path, answer: &[u8]) -> Result<Self> {
        let unspoken = |reason: String| Error::Unspoken { program: program.display().to_string(), reason };
        let endpoint =
            Self::protobuf(answer).or_else(|| serde_json::from_slice(answer).ok()).or_else(|| Self::bare(answer));
        let Some(endpoint) = endpoint else {
            return Err(unspoken(format!("it answered {}, which is no address", excerpt(answer))));
        };
        if !(2..=NEWEST).contains(&endpoint.version) {
            let version = endpoint.version;
            return Err(unspoken(format!(
                "it speaks version {version} of the task API; versions 2 and 3 are known here"
            )));
        }
        if !endpoint.protocol.eq_ignore_ascii_case("ttrpc") {
            return Err(unspoken(format!("it speaks {:?}; only ttrpc is spoken here", endpoint.protocol)));
        }
        if endpoint.socket().is_none() {
            return Err(unspoken(format!(
                "it serves at {:?}; only unix sockets by path are known here",
                endpoint.address
            )));
        }
        Ok(endpoint)
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let path = self.address.strip_prefix("unix://").unwrap_or(&self.address);
        Some(PathBuf::from(path)).filter(|path| path.is_absolute())
    }

    fn protobuf(answer: &[u8]) -> Option<Self> {
        // Any bytes may parse as a message by chance, but hardly with an address in it.
        let result = BootstrapResult::decode(answer).ok().filter(|result| !result.address.is_empty())?;
        Some(Self { version: result.version, address: result.address, protocol: result.protocol })
    }

    /// A bare address is a version 2 shim's.
    fn bare(answer: &[u8]) -> Option<Self> {
        let address = std::str::from_utf8(answer).ok()?.trim();
        let plain = address.starts_with("unix://") && !address.contains(char::is_whitespace);
        plain.then(|| Self { version: 2, address: address.to_owned(), protocol: ttrpc() })
    }
}

/// The beginning of a stranger's bytes, fit to print.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    let short: String = text.chars().take(200).collect();
    if text.is_empty() { "nothing".to_owned() } else { format!("{short:?}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharf_types::{ErrorKind, Kind as _};

    use super::*;

    fn parse(answer: &[u8]) -> Result<Endpoint> {
        Endpoint::parse(Path::new("/x/shim"), answer)
    }

    #[test]
    fn the_three_answers_are_told_apart() {
        let result = BootstrapResult {
            version: 3,
            address: "unix:///run/s".into(),
            protocol: "ttrpc".into(),
            ..Default::default()
        };
        let three = parse(&result.encode_to_vec()).unwrap();
        assert_eq!((three.version, three.socket().unwrap()), (3, PathBuf::from("/run/s")));
        let json = parse(br#"{"version":2,"address":"unix:///run/s","protocol":"ttrpc"}"#).unwrap();
        assert_eq!(json, Endpoint { version: 2, ..three.clone() });
        assert_eq!(parse(b"unix:///run/s\n").unwrap(), json);
        let kept = serde_json::to_vec(&three).unwrap();
        assert_eq!(parse(&kept).unwrap(), three);
    }

    #[test]
    fn rubbish_is_refused_with_its_beginning() {
        for (answer, word) in [
            (&b""[..], "nothing"),
            (b"panic: oh no\ngoroutine 1", "panic: oh no"),
            (b"unix:///run/s\nand more", "and more"),
            (br#"{"version":9,"address":"unix:///run/s","protocol":"ttrpc"}"#, "version 9"),
            (br#"{"version":3,"address":"unix:///run/s","protocol":"grpc"}"#, "grpc"),
            (br#"{"version":3,"address":"vsock://3:4","protocol":"ttrpc"}"#, "vsock"),
            (b"\xff\xfe\0", "no address"),
        ] {
            let error = parse(answer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unimplemented);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_shim_can_ask_for_the_new_form() {
        let error = |words: &str| Error::Program {
            program: String::new(),
            action: "start",
            reason: String::new(),
            words: words.into(),
        };
        let asks = error("shim was started through the deprecated API but was built against the new API");
        assert!(Form::Options.wants_params(&asks) && !Form::Params.wants_params(&asks));
        assert!(!Form::Options.wants_params(&error("runc: not found")));
        assert_eq!(Form::of(Path::new("/usr/bin/containerd-shim-wharf-v1")), Form::Params);
        assert_eq!(Form::of(Path::new("/usr/bin/containerd-shim-runc-v2")), Form::Options);
    }
}
