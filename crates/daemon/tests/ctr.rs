//! What Debian's `ctr` asks of the daemon is answered as containerd answers it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "common/helpers.rs"]
mod helpers;

use helpers::{Daemon, Subscriber};

#[test]
fn version_plugins_and_health() {
    let daemon = Daemon::start();
    let said = daemon.ctr(&["version"]);
    assert!(said.contains(&format!("Version:  {}", env!("CARGO_PKG_VERSION"))), "{said}");
    let uuid = std::fs::read_to_string(daemon.path("root/io.containerd.grpc.v1.introspection/uuid")).unwrap();
    assert!(said.contains(&uuid), "{said}");
    let plugins = daemon.ctr(&["plugins", "ls", "type==io.containerd.snapshotter.v1"]);
    assert!(plugins.contains("native") && !plugins.contains("grpc"), "{plugins}");
    // Which policies there are is looked up by those who let a user choose one.
    let restarts = daemon.ctr(&["plugins", "ls", "--detailed", "id==restart"]);
    assert!(restarts.contains("on-failure"), "{restarts}");
}

#[test]
fn namespaces_come_change_and_go() {
    let daemon = Daemon::start();
    daemon.ctr(&["namespaces", "create", "blue", "team=a"]);
    assert!(daemon.refused(&["namespaces", "create", "blue"]).contains("already exists"));
    assert!(daemon.refused(&["namespaces", "create", "../x"]).contains("not an identifier"));
    daemon.ctr(&["namespaces", "label", "blue", "team=b", "x=y"]);
    // A label makes the namespace that it is written in.
    daemon.ctr(&["namespaces", "label", "green", "team=c"]);
    assert!(daemon.ctr(&["namespaces", "ls"]).contains("team=c"));
    let list = daemon.ctr(&["namespaces", "ls"]);
    assert!(list.contains("blue") && list.contains("team=b") && list.contains("x=y"), "{list}");
    daemon.ctr(&["-n", "blue", "leases", "create", "--id", "l"]);
    assert!(daemon.refused(&["namespaces", "rm", "blue"]).contains("blue"));
    daemon.ctr(&["-n", "blue", "leases", "rm", "l"]);
    daemon.ctr(&["namespaces", "rm", "blue"]);
    assert!(!daemon.ctr(&["namespaces", "ls", "-q"]).contains("blue"));
}

#[test]
fn content_is_written_read_labelled_and_deleted() {
    const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let daemon = Daemon::start();
    daemon.ctr_fed(&["content", "ingest", "--expected-size", "5", "--expected-digest", HELLO, "r"], b"hello");
    daemon.ctr(&["content", "label", HELLO, "containerd.io/gc.root=now"]);
    let list = daemon.ctr(&["content", "ls"]);
    assert!(list.contains(HELLO) && list.contains("5B") && list.contains("gc.root=now"), "{list}");
    assert_eq!(daemon.ctr(&["content", "get", HELLO]), "hello");
    // What exists is taken for done.
    daemon.ctr_fed(&["content", "ingest", "--expected-size", "5", "--expected-digest", HELLO, "again"], b"hello");
    daemon.ctr(&["content", "rm", HELLO]);
    assert!(daemon.refused(&["content", "get", HELLO]).contains("not found"));
    let wrong = ["content", "ingest", "--expected-size", "5", "--expected-digest", HELLO, "wrong"];
    assert!(daemon.refused_fed(&wrong, b"jello").contains("was expected"));
    assert!(daemon.refused(&["content", "get", HELLO]).contains("not found"));
    let large = vec![7; 5 << 20];
    daemon.ctr_fed(&["content", "ingest", "--expected-size", "5242880", "large"], &large);
    assert!(daemon.ctr(&["content", "ls"]).contains("5.243MB"));
    daemon.ctr(&["leases", "create", "--id", "l"]);
    daemon.ctr(&["leases", "rm", "--sync", "l"]);
    assert_eq!(daemon.ctr(&["content", "ls", "-q"]), "", "nothing held it");
}

#[test]
fn images_are_named_labelled_and_removed() {
    let daemon = Daemon::start();
    assert_eq!(daemon.ctr(&["images", "ls", "-q"]), "");
    assert!(daemon.refused(&["images", "tag", "docker.io/library/none:1", "x"]).contains("not found"));
    assert!(daemon.refused(&["run", "docker.io/library/none:1", "c"]).contains("not found"));
}

#[test]
fn leases_and_snapshots() {
    let daemon = Daemon::start();
    daemon.ctr(&["leases", "create", "--id", "keep", "a=b"]);
    assert!(daemon.ctr(&["leases", "ls"]).contains("a=b"));
    daemon.ctr(&["leases", "rm", "keep"]);
    assert!(daemon.refused(&["leases", "rm", "keep"]).contains("not found"));
    let native = |args: &[&str]| daemon.ctr(&[&["snapshots", "--snapshotter", "native"], args].concat());
    let mounts = native(&["prepare", "--mounts", "work"]);
    assert!(mounts.is_empty() || mounts.contains("bind"), "{mounts}");
    assert!(native(&["mounts", "/mnt", "work"]).contains("bind"));
    native(&["label", "work", "containerd.io/gc.root=now"]);
    native(&["commit", "done", "work"]);
    native(&["label", "done", "containerd.io/gc.root=now"]);
    native(&["view", "look", "done"]);
    let list = native(&["ls"]);
    assert!(list.contains("done") && list.contains("Committed") && list.contains("View"), "{list}");
    assert!(native(&["info", "look"]).contains("\"Parent\": \"done\""));
    native(&["usage", "done"]);
    assert!(daemon.refused(&["snapshots", "--snapshotter", "native", "rm", "done"]).contains("done"));
    native(&["rm", "look"]);
    native(&["rm", "done"]);
    let unknown = daemon.refused(&["snapshots", "--snapshotter", "zfs", "ls"]);
    assert!(unknown.contains("zfs") && unknown.contains("not found"), "{unknown}");
}

#[test]
fn containers_are_records_and_tasks_are_not_there() {
    let daemon = Daemon::start();
    let config = daemon.path("config.json");
    std::fs::write(&config, r#"{"ociVersion":"1.0.2","process":{"args":["true"],"cwd":"/"},"root":{"path":"rootfs"}}"#)
        .unwrap();
    daemon.ctr(&["containers", "create", "--config", config.to_str().unwrap(), "--label", "a=b", "c1"]);
    assert!(daemon.ctr(&["containers", "ls"]).contains("c1"));
    let info = daemon.ctr(&["containers", "info", "c1"]);
    assert!(info.contains("\"a\": \"b\"") && info.contains("ociVersion"), "{info}");
    daemon.ctr(&["containers", "label", "c1", "a=c"]);
    assert!(daemon.ctr(&["containers", "ls", "labels.a==c"]).contains("c1"));
    assert!(
        daemon.refused(&["containers", "create", "--config", config.to_str().unwrap(), "a/b"]).contains("identifier")
    );
    assert!(!daemon.ctr(&["tasks", "ls", "-q"]).contains("c1"));
    assert!(daemon.refused(&["tasks", "kill", "c1"]).contains("not found"));
    daemon.ctr(&["containers", "rm", "c1"]);
    assert_eq!(daemon.ctr(&["containers", "ls", "-q"]), "");
}

#[test]
fn events_are_told_once_they_are_true() {
    let daemon = Daemon::start();
    let (events, first) = Subscriber::start(&daemon, "namespace==red", || {
        daemon.ctr(&["namespaces", "create", "red"]);
        daemon.ctr(&["namespaces", "rm", "red"]);
    });
    assert!(first.contains("red /namespaces/") && first.contains("{\"name\":\"red\"}"), "{first}");
    // `ctr` does not know the event of new content, but that of content that went.
    daemon.ctr_fed(&["-n", "red", "content", "ingest", "--expected-size", "5", "r"], b"hello");
    daemon.ctr(&["-n", "red", "snapshots", "--snapshotter", "native", "prepare", "work"]);
    assert!(events.next("/snapshot/prepare").contains("\"key\":\"work\""));
    daemon.ctr(&["-n", "red", "snapshots", "--snapshotter", "native", "commit", "done", "work"]);
    assert!(events.next("/snapshot/commit").contains("\"name\":\"done\""));
    // The collector tells too.
    daemon.ctr(&["-n", "red", "leases", "create", "--id", "l"]);
    daemon.ctr(&["-n", "red", "leases", "rm", "--sync", "l"]);
    assert!(events.next("/content/delete").contains("sha256:2cf24dba5fb0"));
    daemon.ctr(&["-n", "red", "snapshots", "--snapshotter", "native", "rm", "done"]);
    assert!(events.next("/snapshot/remove").contains("\"key\":\"done\""));
    assert!(daemon.refused(&["events", "topic~~x"]).contains("character"));
}

#[test]
fn filters_see_into_events() {
    let daemon = Daemon::start();
    let (_events, first) = Subscriber::start(&daemon, "event.name==blue,topic==\"/namespaces/delete\"", || {
        for name in ["red", "blue"] {
            daemon.ctr(&["namespaces", "create", name]);
            daemon.ctr(&["namespaces", "rm", name]);
        }
    });
    assert!(first.contains("blue /namespaces/delete"), "{first}");
}
