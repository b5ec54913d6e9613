//! Real registries, stores and snapshotters, joined.

mod archives;
mod documents;
mod faults;
mod memory;
mod pushing;
mod resuming;
mod unpacking;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wharf_content::{ContentStore, LocalStore};
use wharf_diff::LayerApplier;
use wharf_fetch::{Config, RegistryResolver, Retries, Timeouts};
use wharf_snapshot::native::NativeSnapshotter;
use wharf_snapshot::overlay::OverlaySnapshotter;
use wharf_snapshot::{Kind, Snapshotter};
use wharf_testkit::image::{Compression, Image, Layer, host_platform};
use wharf_testkit::registry::Registry;
use wharf_types::{Digest, ErrorKind, Filters, Kind as _, Labels, Mount, Reference};

use super::*;

const REPOSITORY: &str = "some/image";

/// A registry, stores in a folder of their own, and a puller between them.
struct Setup {
    registry: Registry,
    content: Arc<LocalStore>,
    snapshots: Arc<dyn Snapshotter>,
    puller: Puller,
    seen: Arc<Mutex<Vec<Progress>>>,
    root: tempfile::TempDir,
}

async fn setup() -> Setup {
    setup_with(|path| Arc::new(OverlaySnapshotter::open(path).unwrap())).await
}

async fn setup_with(open: impl Fn(&Path) -> Arc<dyn Snapshotter>) -> Setup {
    let root = tempfile::tempdir().unwrap();
    let content = Arc::new(LocalStore::open(root.path().join("content")).unwrap());
    let snapshots = open(&root.path().join("snapshots"));
    let puller = Puller {
        resolver: Arc::new(RegistryResolver::new(quick()).unwrap()),
        content: content.clone(),
        applier: Arc::new(LayerApplier::new()),
        unpack: Some(("overlayfs".to_owned(), snapshots.clone())),
    };
    Setup { registry: Registry::start().await.unwrap(), content, snapshots, puller, seen: Arc::default(), root }
}

fn native(path: &Path) -> Arc<dyn Snapshotter> {
    Arc::new(NativeSnapshotter::open(path).unwrap())
}

/// Waits little, tries seldom.
fn quick() -> Config {
    let millis = Duration::from_millis;
    let timeouts = Timeouts {
        connect: millis(2000),
        headers: millis(1000),
        document: millis(1000),
        stall: millis(500),
        stall_bytes: 1024,
        commit: millis(2000),
    };
    let retries = Retries { attempts: 2, cuts: 2, progress: 1000, pause: millis(1), max_pause: millis(20) };
    Config { timeouts, retries, ..Config::default() }
}

fn options() -> Options {
    Options {
        platforms: vec![Platform::host()],
        all_platforms: false,
        all_metadata: false,
        concurrency: 3,
        labels: Labels::new(),
    }
}

/// Bytes that no compression makes smaller, the same for the same seed.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// Three layers: files; a change, a whiteout and a new file in a directory that only the first lists; an opaque directory.
fn image() -> Image {
    let first = Layer::new()
        .dir("etc", 0o750)
        .owner(7, 7)
        .file("etc/a", 0o600, "a")
        .file("etc/gone", 0o644, "")
        .dir("opt", 0o755);
    let first = first.file("opt/hidden", 0o644, "").file("noise", 0o644, noise(1, 300_000));
    let second = Layer::new().file("etc/b", 0o644, "b").whiteout("etc/gone").file("more", 0o644, noise(2, 300_000));
    let third =
        Layer::new().dir("opt", 0o711).opaque("opt").file("opt/seen", 0o644, "seen").hard_link("opt/again", "opt/seen");
    Image::builder()
        .layer(first, Compression::Gzip)
        .layer(second, Compression::Zstd)
        .layer(third, Compression::None)
        .entrypoint(["/bin/x"])
        .build()
}

impl Setup {
    fn reference(&self) -> Reference {
        self.registry.reference(REPOSITORY, "latest").parse().unwrap()
    }

    async fn pull(&self) -> Result<Pulled> {
        self.pull_with(&options()).await
    }

    async fn pull_with(&self, options: &Options) -> Result<Pulled> {
        let seen = self.seen.clone();
        let report: Report = Arc::new(move |progress| seen.lock().unwrap().push(progress));
        self.puller.pull(&self.reference(), options, report).await
    }

    fn labels(&self, digest: &Digest) -> Labels {
        self.content.info(digest).unwrap().labels
    }

    /// The names and kinds of all snapshots.
    fn all(&self) -> Vec<(String, Kind)> {
        let mut all = Vec::new();
        let visit = &mut |info: wharf_snapshot::Info| {
            all.push((info.name, info.kind));
            Ok(())
        };
        self.snapshots.walk(&Filters::default(), visit).unwrap();
        all
    }

    #[track_caller]
    fn no_snapshots(&self) {
        assert_eq!(self.all(), []);
        self.no_ingests_are_open();
    }

    /// Every ingest that is left can be opened: nobody holds it.
    #[track_caller]
    fn no_ingests_are_open(&self) {
        for status in self.content.statuses(&Filters::default()).unwrap() {
            let ingest = wharf_content::Ingest { reference: status.reference, ..Default::default() };
            drop(self.content.writer(&ingest).unwrap());
        }
    }

    /// Every file of a chain: its path, mode, owner and contents.
    fn tree(&self, chain_id: &Digest) -> BTreeMap<String, (u32, u32, Vec<u8>)> {
        let mounts = self.snapshots.view("look", Some(&chain_id.to_string()), &Labels::new()).unwrap();
        let target = self.root.path().join("mounted");
        std::fs::create_dir_all(&target).unwrap();
        mount(&mounts, &target);
        let mut files = BTreeMap::new();
        list(&target, &target, &mut files);
        assert!(std::process::Command::new("umount").arg(&target).status().unwrap().success());
        self.snapshots.remove("look").unwrap();
        files
    }
}

fn mount(mounts: &[Mount], target: &Path) {
    for mount in mounts {
        let options = mount.options.join(",");
        let kind = if mount.kind == "bind" { "none" } else { &mount.kind };
        let mut command = std::process::Command::new("mount");
        command.args(["-t", kind, "-o", &options, &mount.source]).arg(target);
        assert!(command.status().unwrap().success(), "{mount:?}");
    }
}

fn list(root: &Path, directory: &Path, files: &mut BTreeMap<String, (u32, u32, Vec<u8>)>) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let contents = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        files.insert(name, (meta.mode() & 0o7777, meta.uid(), contents));
        if meta.is_dir() {
            list(root, &path, files);
        }
    }
}
