//! How the daemon starts, refuses to start, and stops.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "common/helpers.rs"]
mod helpers;

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use helpers::{Daemon, Subscriber, flags, wharfd};

#[test]
fn a_second_daemon_on_the_same_root_or_state_is_refused_and_told_who_is_there() {
    let daemon = Daemon::start();
    let elsewhere = tempfile::tempdir().unwrap();
    for shared in ["root", "state"] {
        let mut args = flags(elsewhere.path());
        let at = args.iter().position(|arg| *arg == format!("--{shared}")).unwrap();
        args[at + 1] = daemon.path(shared).display().to_string();
        let output = wharfd(&args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&daemon.pid().to_string()) && said.contains(&args[at + 1]), "{said}");
    }
    let mut args = flags(elsewhere.path());
    *args.last_mut().unwrap() = daemon.path("wharf.sock").display().to_string();
    let said = String::from_utf8(wharfd(&args).output().unwrap().stderr).unwrap();
    assert!(said.contains("another process serves it"), "{said}");
    daemon.ctr(&["version"]);
}

#[test]
fn sigterm_and_sigint_stop_it_cleanly_even_with_a_subscriber() {
    let mut dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let daemon = Daemon::start_in(dir);
        let (subscriber, _) = Subscriber::start(&daemon, "namespace==red", || {
            daemon.ctr(&["namespaces", "create", "red"]);
            daemon.ctr(&["namespaces", "rm", "red"]);
        });
        let socket = daemon.path("wharf.sock");
        let began = std::time::Instant::now();
        let (code, said, left) = daemon.end(signal);
        assert_eq!(code, Some(0), "{said}");
        assert!(began.elapsed().as_secs() < 4, "it waited for the subscriber: {said}");
        assert!(!socket.exists() && !socket.with_extension("sock.ttrpc").exists());
        subscriber.ended();
        dir = left;
    }
}

#[test]
fn killed_it_starts_again_over_what_it_left_and_knows_what_it_said() {
    let daemon = Daemon::start();
    daemon.ctr(&["namespaces", "create", "kept", "a=b"]);
    let before = daemon.ctr(&["version"]);
    let (_, _, dir) = daemon.end("-KILL");
    assert!(dir.path().join("wharf.sock").exists(), "it had no time to tidy up");
    let daemon = Daemon::start_in(dir);
    assert!(daemon.ctr(&["namespaces", "ls"]).contains("a=b"));
    assert_eq!(daemon.ctr(&["version"]), before, "the uuid stays");
}

#[test]
fn a_corrupted_configuration_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "version = 3\n[grpc\naddress = 1").unwrap();
    let mut args = flags(dir.path());
    args.extend(["--config".into(), file.display().to_string()]);
    let output = wharfd(&args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("{}:2: ", file.display())), "{said}");
    assert!(!dir.path().join("root").exists(), "nothing was made");
}

#[test]
fn the_configuration_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "version = 2\nroot = '/srv/x'\n[debug]\nlevel = 'debug'\n").unwrap();
    let show = |args: &[&str]| {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        String::from_utf8(wharfd(&args).stdout(Stdio::piped()).output().unwrap().stdout).unwrap()
    };
    let default = show(&["config", "default"]);
    assert!(default.contains("/var/lib/wharf") && default.contains("pause_threshold = 0.02"), "{default}");
    let dump = show(&["config", "dump", "--config", file.to_str().unwrap(), "--state", "/run/y"]);
    assert!(dump.contains("\"/srv/x\"") && dump.contains("\"/run/y\"") && dump.contains("\"debug\""), "{dump}");
    let migrated = show(&["--config", file.to_str().unwrap(), "config", "migrate"]);
    assert!(migrated.contains("version = 3") && migrated.contains("\"/srv/x\""), "{migrated}");
    std::fs::write(&file, &default).unwrap();
    assert_eq!(show(&["--config", file.to_str().unwrap(), "config", "migrate"]), default);
    assert!(show(&["--version"]).starts_with("wharfd "));
}

#[test]
fn it_runs_programs_as_hooks() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"}}"#).unwrap();
    let state = format!(r#"{{"id":"box","status":"created","pid":7,"bundle":"{}"}}"#, dir.path().display());
    let args = ["oci-hook", "--", "/bin/sh", "-c", "echo $0 $1 $WORD; exit 3", "--pid={{pid}}", "{{rootfs}}"];
    let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
    let mut command = wharfd(&args);
    let mut hook = command.env("WORD", "{{id}}").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    hook.stdin.take().unwrap().write_all(state.as_bytes()).unwrap();
    let output = hook.wait_with_output().unwrap();
    let expected = format!("--pid=7 {}/rootfs box\n", dir.path().display());
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(3), expected));
}

#[test]
fn it_joins_the_cgroup_it_is_told_to() {
    let name = format!("wharf-life-{}/daemon", std::process::id());
    let daemon = Daemon::start_with(tempfile::tempdir().unwrap(), &format!("[cgroup]\npath = '/{name}'\n"));
    let member = std::fs::read_to_string(format!("/proc/{}/cgroup", daemon.pid())).unwrap();
    let (_, said, _) = daemon.end("-TERM");
    for group in groups(&name) {
        let _ = std::fs::remove_dir(&group).and_then(|()| std::fs::remove_dir(group.parent().unwrap()));
    }
    assert!(!member.is_empty() && member.lines().all(|line| line.ends_with(&name)), "{member}{said}");
}

#[test]
fn nobody_else_gets_in() {
    let daemon = Daemon::start();
    let mode = |name: &str| std::fs::metadata(daemon.path(name)).unwrap().permissions().mode() & 0o777;
    let modes = ["root", "state", "wharf.sock", "wharf.sock.ttrpc", "root/io.containerd.content.v1.content"].map(mode);
    assert_eq!(modes, [0o700, 0o711, 0o600, 0o600, 0o700], "in {}", daemon.dir().display());
}

/// Where a cgroup of this name may be.
fn groups(name: &str) -> Vec<std::path::PathBuf> {
    let root = std::path::PathBuf::from("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path().join(name));
    hierarchies.chain([root.join(name)]).collect()
}
