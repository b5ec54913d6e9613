//! `-v` and `-info`: what this program is, and what the runtime it drives can do.

use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

use prost::Message as _;
use wharf_api::containerd::types::{RuntimeInfo, RuntimeVersion};

use crate::error::{Error, Result};
use crate::options::Options;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The type of a runtime's features (runtime-spec, features.md) as containerd's clients know it: JSON inside.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Prints the version in the form of containerd's shims.
pub(crate) fn version() -> Result<()> {
    print(format!("containerd-shim-wharf-v1:\n  Version:  {VERSION}\n").as_bytes())
}

/// Prints a `RuntimeInfo`. Standard input holds the runtime's options, or nothing.
pub(crate) fn info() -> Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().take(1 << 20).read_to_end(&mut input).map_err(Error::io("reading the options"))?;
    let options = Some(input).filter(|input| !input.is_empty()).map(|input| {
        prost_types::Any::decode(input.as_slice()).map_err(|e| Error::invalid(format!("standard input is no Any: {e}")))
    });
    let options = options.transpose()?;
    let binary = Options::of_request(options.as_ref())?.binary;
    let info = RuntimeInfo {
        name: "io.containerd.wharf.v1".into(),
        version: Some(RuntimeVersion { version: VERSION.into(), revision: String::new() }),
        features: features(if binary.is_empty() { "runc" } else { &binary })?,
        options,
        ..RuntimeInfo::default()
    };
    print(&info.encode_to_vec())
}

/// What the runtime says it can do; nothing where it knows no such question, as older ones do.
fn features(binary: &str) -> Result<Option<prost_types::Any>> {
    // Whoever asks for us gives us a deadline, and ends the runtime with us.
    let output = Command::new(binary).arg("features").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(format!("cannot find the OCI runtime {binary:?}")),
        _ => Error::io(format!("asking {binary} for its features"))(error),
    })?;
    let json = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&output.stdout);
    let known = output.status.success() && json.is_ok();
    Ok(known.then(|| prost_types::Any { type_url: FEATURES.into(), value: output.stdout }))
}

fn print(bytes: &[u8]) -> Result<()> {
    io::stdout().lock().write_all(bytes).map_err(Error::io("writing to standard output"))
}
