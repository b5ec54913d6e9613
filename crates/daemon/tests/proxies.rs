//! Snapshotters that other programs serve: what they are good for, and what happens when they are not there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

#[path = "common/helpers.rs"]
mod helpers;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use helpers::Daemon;
use tokio::runtime::{Builder, Runtime};
use wharf_server::plugin::{self, Bare};
use wharf_snapshot::overlay::OverlaySnapshotter;
use wharf_testkit::image::Image;
use wharf_testkit::registry::Registry;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A snapshotter with its files in `root`, served at `socket` until the runtime is dropped.
fn serve(root: &Path, socket: &Path) -> Runtime {
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let snapshotter = Arc::new(OverlaySnapshotter::open(root).unwrap());
    let routes = plugin::snapshots(Arc::new(Bare { snapshotter: Some(snapshotter), content: None }));
    let runtime = runtime();
    runtime.spawn(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        wharf_server::serve(routes, listener, std::future::pending()).await.unwrap();
    });
    runtime
}

/// A registry with busybox in it.
fn registry(runtime: &Runtime) -> (Registry, String) {
    let registry = runtime.block_on(Registry::start()).unwrap();
    registry.put_image("busybox", "latest", &Image::of_binary(std::fs::read("/bin/busybox").unwrap(), "/busybox"));
    let reference = registry.reference("busybox", "latest");
    (registry, reference)
}

fn configuration(socket: &Path) -> String {
    format!(
        "[proxy_plugins.far]\ntype = 'snapshot'\naddress = '{}'\n\
         [plugins.'io.containerd.transfer.v1.local']\nunpack_config = [{{ snapshotter = 'far' }}]\n",
        socket.display()
    )
}

#[test]
fn images_are_unpacked_and_run_on_a_foreign_snapshotter() {
    let (side, elsewhere) = (runtime(), tempfile::tempdir().unwrap());
    let (_registry, image) = registry(&side);
    let socket = elsewhere.path().join("far.sock");
    let plugin = serve(&elsewhere.path().join("store"), &socket);
    let daemon = Daemon::start_with(tempfile::tempdir().unwrap(), &configuration(&socket));
    let plugins = daemon.ctr(&["plugins", "ls", "type==io.containerd.snapshotter.v1"]);
    assert!(plugins.contains("far"), "{plugins}");
    daemon.ctr(&["images", "pull", "--plain-http", "--snapshotter", "far", &image]);
    assert!(daemon.ctr(&["snapshots", "--snapshotter", "far", "ls"]).contains("Committed"));
    let run = ["run", "--rm", "--snapshotter", "far", &image, "c", "/busybox", "echo", "far away"];
    assert_eq!(daemon.ctr(&run), "far away\n");

    // It goes: who needs it is told so, everybody else goes on, and so does a daemon that starts anew.
    drop(plugin);
    let far = ["snapshots", "--snapshotter", "far", "prepare", "work"];
    let said = daemon.refused(&far);
    assert!(said.contains(&format!("proxy plugin far at {}", socket.display())), "{said}");
    daemon.ctr(&["snapshots", "--snapshotter", "native", "prepare", "work"]);
    let (_, _, dir) = daemon.end("-KILL");
    let daemon = Daemon::start_with(dir, &configuration(&socket));
    assert!(daemon.ctr(&["snapshots", "--snapshotter", "far", "ls"]).contains("Committed"));
    daemon.refused(&far);
    daemon.ctr(&["leases", "create", "--id", "l"]);
    daemon.ctr(&["leases", "rm", "--sync", "l"]);

    // It comes back with what it had.
    let _plugin = serve(&elsewhere.path().join("store"), &socket);
    assert_eq!(daemon.ctr(&run), "far away\n");
    daemon.ctr(&["images", "rm", "--sync", &image]);
    assert!(!daemon.ctr(&["snapshots", "--snapshotter", "far", "ls"]).contains("sha256:"));
}

#[test]
fn a_daemon_begins_while_a_plugin_is_not_there_or_mute() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mute = elsewhere.path().join("mute.sock");
    let _listener = UnixListener::bind(&mute).unwrap();
    let more = format!(
        "[timeouts]\n'io.wharf.timeout.plugin' = '300ms'\n[proxy_plugins.gone]\ntype = 'snapshot'\n\
         address = '/nowhere/gone.sock'\n[proxy_plugins.mute]\ntype = 'snapshot'\naddress = '{}'\n",
        mute.display()
    );
    let daemon = Daemon::start_with(tempfile::tempdir().unwrap(), &more);
    for name in ["gone", "mute"] {
        let said = daemon.refused(&["snapshots", "--snapshotter", name, "prepare", "work"]);
        assert!(said.contains(&format!("proxy plugin {name} at ")), "{said}");
    }
    daemon.ctr(&["snapshots", "--snapshotter", "native", "prepare", "work"]);
    daemon.ctr(&["snapshots", "--snapshotter", "native", "label", "work", "containerd.io/gc.root="]);
    daemon.ctr(&["leases", "create", "--id", "l"]);
    daemon.ctr(&["leases", "rm", "--sync", "l"]);
    assert!(!daemon.ctr(&["snapshots", "--snapshotter", "native", "ls"]).contains("work"), "it was not collected");
}

#[test]
fn disabled_snapshotters_are_not_there() {
    let without = |names: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
        std::fs::write(dir.path().join("conf.d/less.toml"), format!("disabled_plugins = [{names}]\n")).unwrap();
        dir
    };
    let daemon = Daemon::start_in(without("'io.containerd.snapshotter.v1.native'"));
    let said = daemon.refused(&["snapshots", "--snapshotter", "native", "ls"]);
    assert!(said.contains("native") && said.contains("not found"), "{said}");
}
