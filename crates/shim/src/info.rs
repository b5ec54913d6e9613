//! `-v` and `-info`: what this program is.

use std::io::{Read as _, Write as _};

use prost::Message as _;
use wharf_api::containerd::types::{RuntimeInfo, RuntimeVersion};

use crate::error::{Error, Result};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints the version in the form of containerd's shims.
pub(crate) fn version() -> Result<()> {
    print(format!("containerd-shim-wharf-v1:\n  Version:  {VERSION}\n").as_bytes())
}

/// Prints a `RuntimeInfo`. Standard input holds options, which change nothing of it.
pub(crate) fn info() -> Result<()> {
    let mut input = Vec::new();
    let _ = std::io::stdin().lock().take(1 << 20).read_to_end(&mut input);
    let info = RuntimeInfo {
        name: "io.containerd.wharf.v1".into(),
        version: Some(RuntimeVersion { version: VERSION.into(), revision: String::new() }),
        ..RuntimeInfo::default()
    };
    print(&info.encode_to_vec())
}

fn print(bytes: &[u8]) -> Result<()> {
    std::io::stdout().lock().write_all(bytes).map_err(Error::io("writing to standard output"))
}
