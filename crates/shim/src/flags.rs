//! The command line, in the style of Go's `flag`: `-name value`, `-name=value`, one dash or two; then the action.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// What the command line said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) namespace: String,
    /// The daemon's gRPC socket.
    pub(crate) address: String,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) debug: bool,
    pub(crate) info: bool,
    pub(crate) version: bool,
    pub(crate) action: String,
}

impl Flags {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut flags = Self::default();
        while let Some(arg) = args.next() {
            let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|n| !n.is_empty()) else {
                flags.action = arg;
                break;
            };
            let (name, inline) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let yes = !matches!(inline.as_deref(), Some("false" | "0" | "f"));
            match name {
                "debug" => flags.debug = yes,
                "info" => flags.info = yes,
                "v" => flags.version = yes,
                "namespace" | "address" | "id" | "bundle" | "publish-binary" | "socket" => {
                    let value = inline.or_else(|| args.next());
                    let value = value.ok_or_else(|| Error::invalid(format!("-{name} needs a value")))?;
                    flags.set(name, value);
                }
                other => return Err(Error::invalid(format!("unknown flag -{other}"))),
            }
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String) {
        match name {
            "namespace" => self.namespace = value,
            "address" => self.address = value,
            "id" => self.id = value,
            "bundle" => self.bundle = value.into(),
            // -publish-binary: events go over ttrpc, no program is run for them. -socket: ours is always derived.
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_containerd_writes() {
        let line = "-namespace default -address=/run/x.sock -publish-binary /bin/c --id web -debug start";
        let flags = Flags::parse(line.split(' ').map(str::to_owned)).unwrap();
        assert_eq!(
            (flags.namespace.as_str(), flags.address.as_str(), flags.id.as_str()),
            ("default", "/run/x.sock", "web")
        );
        assert!(flags.debug && flags.action == "start");
        assert!(Flags::parse(["-bogus".to_owned()].into_iter()).is_err());
        assert!(Flags::parse(["-id".to_owned()].into_iter()).is_err());
    }
}
