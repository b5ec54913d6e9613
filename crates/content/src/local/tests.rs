//! What holds for the store in a directory beyond what the suite asks of every store.

mod killed;

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use wharf_types::{ErrorKind, Kind as _, Labels};

use super::*;
use crate::{Commit, testsuite};

fn ingest(reference: &str, total: Option<u64>) -> Ingest {
    Ingest { reference: reference.to_owned(), total, expected: None }
}

/// A store in a directory of its own, and paths in it.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> LocalStore {
        LocalStore::open(self.root.path()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    fn labels(&self, digest: &Digest) -> PathBuf {
        self.path("labels/sha256").join(format!("{}.json", digest.hex()))
    }

    fn data(&self, reference: &str) -> PathBuf {
        self.path("ingest").join(layout::ingest_name(reference)).join("data")
    }

    /// All names under the root's directories but blobs: what a crash leaves is among them.
    fn names(&self, directory: &str) -> Vec<String> {
        disk::names(&self.path(directory)).unwrap()
    }
}

fn put(store: &LocalStore, bytes: &[u8]) -> Digest {
    let mut writer = store.writer(&ingest("put", None)).unwrap();
    writer.write(bytes).unwrap();
    writer.commit(&Commit::default()).unwrap().digest
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(|_| panic!("it went well")).unwrap_err().kind()
}

#[test]
fn the_suite_passes() {
    testsuite::run(|root| Box::new(LocalStore::open(root).unwrap()));
}

#[test]
fn the_suite_passes_on_one_store_at_once() {
    let place = Place::new();
    let store = LocalStore::open_with(place.root.path(), Durability::Unsynced).unwrap();
    std::thread::scope(|scope| {
        for case in testsuite::cases() {
            let store = &store;
            scope.spawn(move || (case.run)(store));
        }
    });
}

#[test]
fn others_read_nothing_and_nobody_writes_a_blob() {
    let place = Place::new();
    let digest = put(&place.open(), b"x");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for directory in ["blobs", "blobs/sha256", "labels/sha512", "ingest"] {
        assert_eq!(mode(place.path(directory)), 0o700, "{directory}");
    }
    assert_eq!(mode(place.blob(&digest)), 0o444);
}

#[test]
fn a_sweep_takes_what_a_crash_left_and_nothing_else() {
    let place = Place::new();
    let store = place.open();
    let kept = put(&store, b"kept");
    let labels = LabelChange::Replace(Labels::from([("a".to_owned(), "b".to_owned())]));
    store.update(&kept, &labels).unwrap();
    store.writer(&ingest("resumed", Some(10))).unwrap().write(b"half").unwrap();
    for reference in ["no data", "no ref", "other ref"] {
        store.writer(&ingest(reference, None)).unwrap().write(b"lost").unwrap();
    }
    drop(store);
    fs::remove_file(place.data("no data")).unwrap();
    fs::remove_file(place.data("no ref").with_file_name("ref")).unwrap();
    fs::write(place.data("other ref").with_file_name("ref"), "resumed").unwrap();
    fs::create_dir_all(place.path("ingest/.7/deep")).unwrap();
    fs::write(place.path("labels/sha256/.8"), "half of a lab").unwrap();
    fs::write(place.labels(&Digest::of(b"gone")), "{}").unwrap();

    let store = place.open();
    assert_eq!(place.names("ingest"), [layout::ingest_name("resumed")]);
    assert_eq!(place.names("labels/sha256"), [format!("{}.json", kept.hex())]);
    assert_eq!(store.info(&kept).unwrap().labels.len(), 1);
    let status = store.status("resumed").unwrap();
    assert_eq!((status.offset, status.total), (4, Some(10)));
}

#[test]
fn an_ingest_goes_on_from_what_is_on_disk() {
    let place = Place::new();
    let store = place.open();
    let open = || store.writer(&ingest("r", Some(8))).unwrap();
    open().write(b"12345").unwrap();
    // The power took some bytes.
    fs::OpenOptions::new().write(true).open(place.data("r")).unwrap().set_len(3).unwrap();
    let writer = open();
    assert_eq!((writer.status().offset, writer.digest()), (3, Digest::of(b"123")));
    drop(writer);
    // More than there will be: nothing of it can be right.
    fs::write(place.data("r"), b"123456789").unwrap();
    let mut writer = open();
    assert_eq!((writer.status().offset, writer.digest()), (0, Digest::of(b"")));
    writer.write(b"12345678").unwrap();
    assert_eq!(writer.commit(&Commit::default()).unwrap().digest, Digest::of(b"12345678"));
}

#[test]
fn zeros_in_place_of_bytes_are_found_at_the_commit() {
    let place = Place::new();
    let store = place.open();
    let known = Ingest { expected: Some(Digest::of(b"12345678")), ..ingest("r", Some(8)) };
    store.writer(&known).unwrap().write(b"12345").unwrap();
    fs::write(place.data("r"), b"123\0\0").unwrap();
    let mut writer = store.writer(&known).unwrap();
    writer.write(b"678").unwrap();
    assert_eq!(kind(writer.commit(&Commit::default())), ErrorKind::FailedPrecondition);
    assert!(place.names("blobs/sha256").is_empty());
    writer.truncate().unwrap();
    writer.write(b"12345678").unwrap();
    writer.commit(&Commit::default()).unwrap();
}

#[test]
fn a_commit_that_was_cut_short_is_committed_by_the_next() {
    let place = Place::new();
    let store = place.open();
    store.writer(&ingest("r", None)).unwrap().write(b"sealed").unwrap();
    fs::set_permissions(place.data("r"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::write(place.labels(&Digest::of(b"sealed")), r#"{"of":"that commit"}"#).unwrap();
    drop(store);
    let mut writer = place.open().writer(&ingest("r", None)).unwrap();
    let info = writer.commit(&Commit::default()).unwrap();
    assert_eq!((info.digest, info.labels), (Digest::of(b"sealed"), Labels::new()));
}

#[test]
fn bytes_that_cannot_be_synced_are_condemned() {
    let place = Place::new();
    let store = LocalStore::open_with(place.root.path(), Durability::Broken).unwrap();
    let mut writer = store.writer(&ingest("r", None)).unwrap();
    writer.write(b"x").unwrap();
    let error = writer.commit(&Commit::default()).unwrap_err();
    assert!(error.to_string().starts_with("sync "), "{error}");
    // A second sync would succeed, and prove nothing.
    assert_eq!(kind(writer.commit(&Commit::default())), ErrorKind::FailedPrecondition);
    assert_eq!(kind(store.status("r")), ErrorKind::NotFound);
    assert_eq!(kind(store.info(&Digest::of(b"x"))), ErrorKind::NotFound);
    assert_eq!(store.writer(&ingest("r", None)).unwrap().status().offset, 0);
}

#[test]
fn a_link_or_a_fifo_is_no_blob() {
    let place = Place::new();
    let store = place.open();
    let (link, fifo) = (Digest::of(b"link"), Digest::of(b"fifo"));
    let secret = place.path("secret");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, place.blob(&link)).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, place.blob(&fifo), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for digest in [&link, &fifo] {
        assert_eq!(kind(store.info(digest)), ErrorKind::NotFound);
        assert_eq!(kind(store.reader(digest)), ErrorKind::NotFound);
        assert_eq!(kind(store.update(digest, &LabelChange::Merge(Labels::new()))), ErrorKind::NotFound);
    }
    store.walk(&Filters::all(), &mut |info| panic!("{info:?} was visited")).unwrap();
    // A blob takes the place of both, and what the link points to stays.
    assert_eq!((put(&store, b"link"), put(&store, b"fifo")), (link.clone(), fifo));
    assert_eq!(fs::read(place.blob(&link)).unwrap(), b"link");
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
}

#[test]
fn odd_files_are_passed_over() {
    let place = Place::new();
    let store = place.open();
    let digest = put(&store, b"x");
    for name in ["README", ".hidden", &"A".repeat(64), &"a".repeat(65)] {
        fs::write(place.path("blobs/sha256").join(name), "odd").unwrap();
        fs::create_dir(place.path("ingest").join(name)).unwrap();
    }
    fs::create_dir(place.blob(&Digest::of(b"a directory"))).unwrap();
    let mut found = Vec::new();
    let visit = &mut |info: Info| {
        found.push(info.digest);
        Ok(())
    };
    store.walk(&Filters::all(), visit).unwrap();
    assert_eq!(found, std::slice::from_ref(&digest));
    assert_eq!(store.statuses(&Filters::all()).unwrap(), []);
    for text in ["", "no json", "[1]", "{\"a\":1}", "\u{0}"] {
        fs::write(place.labels(&digest), text).unwrap();
        assert_eq!(store.info(&digest).unwrap().labels, Labels::new(), "{text}");
    }
}
