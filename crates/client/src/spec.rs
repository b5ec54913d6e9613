//! The OCI runtime specification of a container: a safe default, shaped by the image and the caller.

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{LinuxNamespaceBuilder, LinuxNamespaceType, Spec};
use prost_types::Any;
use serde::Serialize;
use serde_json::json;

use crate::user::Identity;
use crate::{Error, Result};

/// The type of a specification in an `Any` (containerd: `typeurl`).
pub const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
/// The type of a process in an `Any`.
pub const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";

/// What a container may do when nobody says otherwise: what containerd and Docker allow.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The specification of a container that nobody has said anything about.
///
/// # Errors
/// Never in practice: the text is this crate's own.
pub fn default_spec(namespace: &str, id: &str) -> Result<Spec> {
    let tmpfs = |mode: &str| json!(["nosuid", "strictatime", mode, "size=65536k"]);
    let spec = json!({
        "ociVersion": "1.1.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "cwd": "/",
            "env": [PATH],
            "args": [],
            "noNewPrivileges": true,
            "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": tmpfs("mode=755") },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": tmpfs("mode=755") },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "cgroupsPath": format!("/{namespace}/{id}"),
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "network" },
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    serde_json::from_value(spec).map_err(|error| Error::io("make the default specification")(error.into()))
}

/// What a caller says beside the image.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Replaces the image's command (and its entrypoint stays where it has one, unless [`Process::entrypoint`] is set).
    pub command: Vec<String>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`, after the image's own.
    pub env: Vec<String>,
    /// The working directory instead of the image's.
    pub cwd: Option<String>,
    /// A terminal.
    pub terminal: bool,
}

/// Shapes `spec` by an image's configuration and the caller's words (OCI image specification, "Conversion to OCI Runtime
/// Configuration"). Labels, volumes and other words of the image never become part of it.
///
/// # Errors
/// [`Error::Image`] when neither says what to run.
pub fn apply_image(
    spec: &mut Spec,
    image: &str,
    config: &ImageConfiguration,
    identity: &Identity,
    wanted: &Process,
) -> Result<()> {
    let said = config.config().clone().unwrap_or_default();
    let entrypoint = wanted.entrypoint.clone().or_else(|| said.entrypoint().clone()).unwrap_or_default();
    // Who replaces the entrypoint replaces what was to be its arguments.
    let default_command = if wanted.entrypoint.is_some() { Vec::new() } else { said.cmd().clone().unwrap_or_default() };
    let command = if wanted.command.is_empty() { default_command } else { wanted.command.clone() };
    let args: Vec<String> = entrypoint.into_iter().chain(command).collect();
    if args.is_empty() {
        let reason = "it names no command and none was given".to_owned();
        return Err(Error::Image { image: image.to_owned(), reason });
    }
    let mut env = said.env().clone().unwrap_or_default();
    if !env.iter().any(|variable| variable.starts_with("PATH=")) {
        env.insert(0, PATH.to_owned());
    }
    merge_env(&mut env, &wanted.env);
    if wanted.terminal && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    let from_image = said.working_dir().clone().filter(|cwd| cwd.starts_with('/'));
    let cwd = wanted.cwd.clone().or(from_image).unwrap_or_else(|| "/".to_owned());
    let mut process = spec.process().clone().unwrap_or_default();
    process.set_args(Some(args)).set_env(Some(env)).set_cwd(cwd.into()).set_terminal(Some(wanted.terminal));
    process.set_user(identity.to_user()?);
    spec.set_process(Some(process));
    Ok(())
}

/// Later variables replace earlier ones of the same name.
fn merge_env(env: &mut Vec<String>, later: &[String]) {
    for variable in later {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        env.retain(|known| known.split_once('=').map_or(known.as_str(), |(name, _)| name) != name);
        env.push(variable.clone());
    }
}

/// Has the container join the network namespace at `path` (`/run/netns/…`) instead of getting one of its own.
///
/// # Errors
/// Never in practice.
pub fn join_network(spec: &mut Spec, path: &std::path::Path) -> Result<()> {
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
    let joined = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(path).build();
    namespaces.push(joined.map_err(|error| Error::io("join a network namespace")(std::io::Error::other(error)))?);
    linux.set_namespaces(Some(namespaces));
    spec.set_linux(Some(linux));
    Ok(())
}

/// An OCI document as an `Any`: JSON under containerd's name for its type.
pub(crate) fn to_any(type_url: &str, document: &impl Serialize) -> Result<Any> {
    let value = serde_json::to_vec(document).map_err(|error| Error::io("write JSON")(error.into()))?;
    Ok(Any { type_url: type_url.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ImageConfiguration {
        serde_json::from_str(text).unwrap()
    }

    fn args(config: &ImageConfiguration, wanted: &Process) -> Result<Vec<String>> {
        let mut spec = default_spec("default", "x")?;
        apply_image(&mut spec, "image", config, &Identity::root(), wanted)?;
        Ok(spec.process().as_ref().unwrap().args().clone().unwrap())
    }

    const IMAGE: &str = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
        "config":{"Entrypoint":["/entry"],"Cmd":["a"],"Env":["A=1","B=2"],"WorkingDir":"/w","Labels":{"x":"y"}}}"#;

    #[test]
    fn a_command_replaces_the_images_and_keeps_the_entrypoint() {
        let image = config(IMAGE);
        assert_eq!(args(&image, &Process::default()).unwrap(), ["/entry", "a"]);
        let command = Process { command: vec!["b".into()], ..Process::default() };
        assert_eq!(args(&image, &command).unwrap(), ["/entry", "b"]);
        let entrypoint = Process { entrypoint: Some(vec!["/other".into()]), ..Process::default() };
        assert_eq!(args(&image, &entrypoint).unwrap(), ["/other"]);
    }

    #[test]
    fn an_image_without_a_command_is_refused() {
        let image = config(r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#);
        let refused = args(&image, &Process::default()).unwrap_err();
        assert_eq!(refused.to_string(), "image image: it names no command and none was given");
    }

    #[test]
    fn later_variables_win() {
        let mut env = vec!["A=1".to_owned(), "B=2".to_owned()];
        merge_env(&mut env, &["A=3".to_owned()]);
        assert_eq!(env, ["B=2", "A=3"]);
    }
}
