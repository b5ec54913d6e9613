//! The database with real stores behind it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::unit_arg, clippy::type_complexity)]

mod activations;
mod collect;
mod conformance;
mod crash;
mod hooks;
mod opening;
mod race;
mod records;
mod sandboxes;
mod sharing;
mod speed;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wharf_content::{Commit, ContentStore, Ingest, LocalStore};
use wharf_snapshot::native::NativeSnapshotter;
use wharf_snapshot::{Base, Snapshotter};
use wharf_types::{Any, Descriptor, Digest, ErrorKind, Filters, Kind, Labels, Namespace};

use crate::{Container, Database, Image, Images, Object, ObjectKind, Options, Runtime, Sharing};

/// A database, its stores and a clock that stands still.
struct Env {
    dir: TempDir,
    content: Arc<dyn ContentStore>,
    snapshots: Arc<dyn Snapshotter>,
    clock: Arc<Mutex<SystemTime>>,
    db: Database,
}

impl Env {
    fn new() -> Self {
        Self::with(|content, snapshots| (content, snapshots))
    }

    /// With something between the database and the stores.
    fn with(
        wrap: impl FnOnce(Arc<dyn ContentStore>, Arc<dyn Snapshotter>) -> (Arc<dyn ContentStore>, Arc<dyn Snapshotter>),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content: Arc<dyn ContentStore> = Arc::new(LocalStore::open(dir.path().join("content")).unwrap());
        let snapshots: Arc<dyn Snapshotter> = Arc::new(NativeSnapshotter::open(dir.path().join("native")).unwrap());
        let (content, snapshots) = wrap(content, snapshots);
        let clock = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        let db = open(dir.path(), content.clone(), snapshots.clone(), &clock, Sharing::Shared).unwrap();
        Self { dir, content, snapshots, clock, db }
    }

    fn advance(&self, by: Duration) {
        *self.clock.lock().unwrap() += by;
    }

    fn native(&self, ns: &str, lease: Option<&str>) -> Arc<dyn Snapshotter> {
        self.db.snapshotter(&namespace(ns), "native", lease).unwrap()
    }

    /// Writes a blob with labels.
    fn put(&self, ns: &str, lease: Option<&str>, bytes: &[u8], labels: &[(&str, &str)]) -> Digest {
        let store = self.db.content(&namespace(ns), lease);
        let mut writer = store.writer(&ingest(&format!("put {}", Digest::of(bytes)))).unwrap();
        writer.write(bytes).unwrap();
        writer.commit(&Commit { labels: map(labels), ..Commit::default() }).unwrap().digest
    }

    fn has(&self, ns: &str, digest: &Digest) -> bool {
        self.db.content(&namespace(ns), None).info(digest).is_ok()
    }

    /// Makes a committed snapshot.
    fn layer(&self, ns: &str, name: &str, parent: Option<&str>, labels: &[(&str, &str)]) {
        let view = self.native(ns, None);
        view.prepare(&format!("make {name}"), parent.map_or(Base::Empty, Base::On), &Labels::new()).unwrap();
        let commit = wharf_snapshot::Commit {
            name: name.to_owned(),
            key: format!("make {name}"),
            labels: map(labels),
            parent: None,
        };
        view.commit(&[commit]).unwrap();
    }

    fn image(&self, ns: &str, name: &str, target: &Digest, labels: &[(&str, &str)]) {
        self.db_image(ns, name, target, labels).unwrap();
    }

    fn db_image(&self, ns: &str, name: &str, target: &Digest, labels: &[(&str, &str)]) -> crate::Result<Image> {
        Images::create(&self.db, &namespace(ns), image(name, target, labels))
    }

    /// What both stores have, however it is called.
    fn behind(&self) -> (usize, usize, usize) {
        let (mut blobs, mut snapshots) = (0, 0);
        self.content.walk(&Filters::all(), &mut |_| Ok(blobs += 1)).unwrap();
        self.snapshots.walk(&Filters::all(), &mut |_| Ok(snapshots += 1)).unwrap();
        (blobs, self.content.statuses(&Filters::all()).unwrap().len(), snapshots)
    }

    /// The names of what a collection removed.
    fn collected(&self) -> Vec<String> {
        let mut names: Vec<_> = self.db.collect().unwrap().removed.into_iter().map(|object| object.name).collect();
        names.sort();
        names
    }
}

fn open(
    dir: &Path,
    content: Arc<dyn ContentStore>,
    snapshots: Arc<dyn Snapshotter>,
    clock: &Arc<Mutex<SystemTime>>,
    sharing: Sharing,
) -> crate::Result<Database> {
    let clock = clock.clone();
    let options = Options { clock: Arc::new(move || *clock.lock().unwrap()), sharing };
    let snapshotters: BTreeMap<String, Arc<dyn Snapshotter>> = [("native".to_owned(), snapshots)].into();
    Database::open_with(dir.join("meta.db"), content, snapshotters, options)
}

fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn map(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ingest(reference: &str) -> Ingest {
    Ingest { reference: reference.to_owned(), ..Ingest::default() }
}

fn image(name: &str, target: &Digest, labels: &[(&str, &str)]) -> Image {
    let (created_at, updated_at) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH);
    let target = Descriptor::new("application/vnd.oci.image.manifest.v1+json", target.clone(), 1);
    Image { name: name.to_owned(), target, labels: map(labels), created_at, updated_at }
}

fn container(id: &str) -> Container {
    Container {
        id: id.to_owned(),
        labels: Labels::new(),
        image: String::new(),
        runtime: Runtime { name: "io.containerd.wharf.v1".to_owned(), options: None },
        spec: Some(Any { type_url: "spec".to_owned(), value: b"{}".to_vec() }),
        snapshotter: String::new(),
        snapshot_key: String::new(),
        extensions: BTreeMap::new(),
        sandbox: String::new(),
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    }
}

fn object(ns: &str, kind: ObjectKind, name: &str) -> Object {
    Object { namespace: namespace(ns), kind, name: name.to_owned() }
}

/// Panics unless `result` is an error of `kind`; returns its words.
#[track_caller]
fn refused<T, E: Kind>(result: Result<T, E>, kind: ErrorKind) -> String {
    match result {
        Ok(_) => panic!("it went well, {kind} was promised"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            error.to_string()
        }
    }
}
