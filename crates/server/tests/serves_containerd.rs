//! Debian's containerd, with our stores as its proxy plugins: the example programs serve them.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use wharf_diff::{Applier as _, LayerApplier};
use wharf_proxy::{Plugin, ProxyApplier};
use wharf_testkit::daemon::Daemon;
use wharf_testkit::image::Image;
use wharf_testkit::registry::Registry;
use wharf_types::Mount;

/// A containerd, a registry with one image, and what serves plugins. Dropped, all of it is gone.
struct Scene {
    containerd: Daemon,
    plugins: Vec<Child>,
    reference: String,
    _registry: Registry,
    runtime: Runtime,
    dir: TempDir,
}

impl Scene {
    /// Starts containerd with `config`; `SOCKETS` in it is where plugins have their sockets.
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registry = runtime.block_on(Registry::start()).unwrap();
        let busybox = std::fs::read("/bin/busybox").unwrap();
        registry.put_image("busybox", "latest", &Image::of_binary(busybox, "/busybox"));
        let reference = registry.reference("busybox", "latest");
        let file = dir.path().join("config.toml");
        std::fs::write(&file, config.replace("SOCKETS", &dir.path().display().to_string())).unwrap();
        let containerd = Daemon::containerd(Path::new("/usr/bin/containerd"), dir.path());
        let containerd = containerd.argument("--config").argument(file.display().to_string());
        Self { containerd, plugins: Vec::new(), reference, _registry: registry, runtime, dir }
    }

    /// Starts an example program that serves at the socket `name`, and waits until it does.
    fn serve(&mut self, example: &str, name: &str, second: &str) {
        let program = std::env::current_exe().unwrap();
        let program = program.ancestors().nth(2).unwrap().join("examples").join(example);
        assert!(program.is_file(), "no {}: cargo build -p wharf-server --examples", program.display());
        let (socket, second) = (self.dir.path().join(name), self.dir.path().join(second));
        self.plugins.push(Command::new(&program).arg(&socket).arg(second).spawn().unwrap());
        let began = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "{} does not serve", program.display());
            std::thread::yield_now();
        }
    }

    fn ctr(&self, args: &[&str]) -> String {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.containerd.address()).arg("--timeout=30s").args(args);
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "ctr {args:?}: {said}\n{}", self.containerd.log());
        said
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for plugin in &mut self.plugins {
            let _ = plugin.kill();
            let _ = plugin.wait();
        }
    }
}

/// An identifier that no other test has: containerd's shims keep their containers in one place for all of its roots.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

const HEAD: &str = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"PLUGINS]\n";

#[test]
fn containerd_unpacks_and_runs_on_our_snapshotter() {
    let mut scene = Scene::new(&format!(
        "{}[proxy_plugins.ours]\ntype = \"snapshot\"\naddress = \"SOCKETS/snapshots\"\n",
        HEAD.replace("PLUGINS", "")
    ));
    scene.serve("serve_snapshots", "snapshots", "store");
    scene.containerd.start().unwrap();
    let image = scene.reference.clone();
    scene.ctr(&["images", "pull", "--plain-http", "--snapshotter", "ours", &image]);
    assert!(scene.ctr(&["snapshots", "--snapshotter", "ours", "ls"]).contains("Committed"));
    assert!(!scene.ctr(&["snapshots", "ls"]).contains("sha256:"), "containerd's own has it too");
    let id = unique("snapshots");
    let run = ["run", "--rm", "--snapshotter", "ours", &image, &id, "/busybox", "echo", "hello from our snapshotter"];
    assert_eq!(scene.ctr(&run), "hello from our snapshotter\n");
    assert!(std::fs::read_dir(scene.path("store")).unwrap().next().is_some());
    // Its collector goes through ours too.
    scene.ctr(&["images", "rm", "--sync", &image]);
    assert!(!scene.ctr(&["snapshots", "--snapshotter", "ours", "ls"]).contains("sha256:"));
}

#[test]
fn containerd_keeps_its_content_in_our_store() {
    let mut scene = Scene::new(&format!(
        "{}[proxy_plugins.ours]\ntype = \"content\"\naddress = \"SOCKETS/content\"\n",
        HEAD.replace("PLUGINS", ", \"io.containerd.content.v1.content\"")
    ));
    scene.serve("serve_content", "content", "store");
    scene.containerd.start().unwrap();
    let image = scene.reference.clone();
    scene.ctr(&["images", "pull", "--plain-http", &image]);
    assert_eq!(
        scene.ctr(&["run", "--rm", &image, &unique("content"), "/busybox", "echo", "hello from our store"]),
        "hello from our store\n"
    );
    let listed = scene.ctr(&["content", "ls", "-q"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    for digest in listed.lines() {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        assert!(scene.path("store/blobs").join(algorithm).join(hex).is_file(), "{digest} is not in our store");
    }
    assert!(scene.ctr(&["content", "get", listed.lines().next().unwrap()]).len() > 100);
}

/// containerd takes differs as plugins from 2.0 on, so a differ of ours is asked here as that one would ask it: for a layer that
/// is in containerd's content.
#[test]
fn layers_of_containerd_s_content_are_extracted_by_us() {
    let mut scene = Scene::new(&HEAD.replace("PLUGINS", ""));
    scene.containerd.start().unwrap();
    scene.serve("serve_differ", "differ", "wharf.sock");
    scene.ctr(&["images", "pull", "--plain-http", &scene.reference]);
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let layer = Image::of_binary(busybox.clone(), "/busybox").layers.remove(0);
    let tree = scene.path("tree");
    std::fs::create_dir(&tree).unwrap();
    let bind = Mount {
        kind: "bind".into(),
        source: tree.display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Mount::default()
    };
    let applier = |namespace: &str| {
        let plugin = Plugin::new("ours", scene.path("differ"), scene.runtime.handle());
        ProxyApplier::new(plugin.in_namespace(&namespace.parse().unwrap()))
    };
    let apply = |namespace: &str| {
        applier(namespace).apply(&mut &layer.bytes[..], &layer.media_type, std::slice::from_ref(&bind))
    };
    let applied = apply("default").unwrap();
    let other = Mount { source: scene.path("twin").display().to_string(), ..bind.clone() };
    std::fs::create_dir(&other.source).unwrap();
    let wanted = LayerApplier::new().apply(&mut &layer.bytes[..], &layer.media_type, &[other]).unwrap();
    assert_eq!((applied.diff_id, applied.size), (wanted.diff_id, wanted.size));
    assert!(std::fs::read(tree.join("busybox")).unwrap() == busybox);
    // Another namespace has no such layer.
    let error = apply("elsewhere").unwrap_err().to_string();
    assert!(error.contains("not found"), "{error}");
}
