//! What a daemon writes to a starting shim, and the answer it reads, in the forms that have been in use.
//!
//! Since containerd 2.3 standard input carries `BootstrapParams` and the answer is a `BootstrapResult`. Before that it carried
//! the runtime's options as an `Any`, or nothing; the answer was JSON for daemons that set `MAX_SHIM_VERSION` (1.7 and up), and
//! a bare address for those that do not. An `Any` can parse as `BootstrapParams`, so identity and namespace must match too.

use std::path::PathBuf;

use prost::Message as _;
use wharf_api::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult};

use crate::options::Options;

/// How the shim was started, and hence how it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `BootstrapResult`.
    Protobuf,
    /// `{"version":…,"address":…,"protocol":"ttrpc"}`, the version at most the given one.
    Json(u32),
    /// The address alone, of a version 2 shim.
    Bare,
}

/// What was said at start.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    pub(crate) form: Form,
    pub(crate) options: Options,
    /// Where the daemon wants the socket, if it said.
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) ttrpc_address: Option<String>,
    pub(crate) address: Option<String>,
}

impl Bootstrap {
    /// Reads standard input's bytes; `max` is the value of `MAX_SHIM_VERSION`.
    pub(crate) fn parse(input: &[u8], id: &str, namespace: &str, max: Option<&str>) -> Self {
        let params = BootstrapParams::decode(input).ok();
        if let Some(params) = params.filter(|p| !input.is_empty() && p.instance_id == id && p.namespace == namespace) {
            let options = params.extensions.iter().filter_map(|e| e.value.as_ref());
            return Self {
                form: Form::Protobuf,
                options: options.filter_map(Options::parse).next_back().unwrap_or_default(),
                socket_dir: params.socket_dir.filter(|d| !d.is_empty()).map(Into::into),
                ttrpc_address: Some(params.containerd_ttrpc_address).filter(|a| !a.is_empty()),
                address: Some(params.containerd_grpc_address).filter(|a| !a.is_empty()),
            };
        }
        let form = match max.map(str::parse::<u32>) {
            Some(Ok(max)) => Form::Json(max.min(3)),
            _ => Form::Bare,
        };
        let options = prost_types::Any::decode(input).ok().and_then(|any| Options::parse(&any)).unwrap_or_default();
        Self { form, options, socket_dir: None, ttrpc_address: None, address: None }
    }

    /// The bytes for standard output.
    pub(crate) fn answer(&self, address: &str) -> Vec<u8> {
        let address = address.to_owned();
        match self.form {
            Form::Protobuf => {
                BootstrapResult { version: 3, address, protocol: "ttrpc".into(), ..Default::default() }.encode_to_vec()
            }
            Form::Json(version) => serde_json::json!({ "version": version, "address": address, "protocol": "ttrpc" })
                .to_string()
                .into_bytes(),
            Form::Bare => address.into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_told_apart() {
        let params = BootstrapParams { instance_id: "a".into(), namespace: "n".into(), ..Default::default() };
        assert_eq!(Bootstrap::parse(&params.encode_to_vec(), "a", "n", None).form, Form::Protobuf);
        let any = prost_types::Any { type_url: "a".into(), value: b"\xff\xfe".to_vec() };
        assert_eq!(Bootstrap::parse(&any.encode_to_vec(), "a", "n", Some("2")).form, Form::Json(2));
        assert_eq!(Bootstrap::parse(b"", "", "", None).form, Form::Bare);
        assert_eq!(Bootstrap::parse(b"\xff\xff\xff", "a", "n", Some("9")).form, Form::Json(3));
    }
}
