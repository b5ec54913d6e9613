//! What any [`Snapshotter`] must do, to be run against it with real mounts, as root.
//!
//! ```no_run
//! use wharf_snapshot::{native::NativeSnapshotter, testsuite};
//!
//! testsuite::run(&|root| Box::new(NativeSnapshotter::open(root).unwrap()));
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed expectation is the suite's way to speak")]

mod basics;
mod commits;
mod layers;
mod tree;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tempfile::TempDir;
use wharf_sys::mount::TempMount;
use wharf_types::{ErrorKind, Filters, Kind as _, Labels, Mount};

use crate::{Base, Commit, Info, Result, Snapshotter};

/// Opens the snapshotter under test on a root directory, which may hold what it wrote before.
pub type Open<'a> = &'a dyn Fn(&Path) -> Box<dyn Snapshotter>;

/// A promise's name and its test.
type Test = (&'static str, fn(&mut Case<'_>));

/// Runs every case, each in a directory of its own.
///
/// # Panics
/// When the snapshotter breaks a promise; the message names the cases.
pub fn run(open: Open<'_>) {
    let mut failed = Vec::new();
    for (name, test) in [basics::CASES, layers::CASES, tree::CASES, commits::CASES].concat() {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&mut Case::new(open)))) {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            failed.push(format!("{name}: {}", text.unwrap_or("panicked")));
        }
    }
    assert!(failed.is_empty(), "the snapshotter does not keep its promises:\n{}", failed.join("\n"));
}

/// A snapshotter on a fresh directory.
struct Case<'a> {
    /// Always there, but while it is opened again.
    snapshots: Option<Box<dyn Snapshotter>>,
    open: Open<'a>,
    dir: TempDir,
}

impl<'a> Case<'a> {
    fn new(open: Open<'a>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { snapshots: Some(open(dir.path())), open, dir }
    }

    /// Opens the same directory again.
    fn reopen(&mut self) {
        // The old one must be gone first, since it holds the root.
        drop(self.snapshots.take());
        self.snapshots = Some((self.open)(self.dir.path()));
    }

    fn on(&self) -> &dyn Snapshotter {
        self.snapshots.as_deref().unwrap()
    }

    fn prepare(&self, key: &str, parent: Option<&str>) -> Result<Vec<Mount>> {
        self.on().prepare(key, parent.map_or(Base::Empty, Base::On), &Labels::new())
    }

    fn view(&self, key: &str, parent: Option<&str>) -> Result<Vec<Mount>> {
        self.on().view(key, parent, &Labels::new())
    }

    fn commit(&self, name: &str, key: &str) -> Result<()> {
        self.on().commit(&[step(name, key)])
    }

    /// A committed snapshot with what `change` makes of its parent.
    fn layer(&self, name: &str, parent: Option<&str>, change: impl FnOnce(&Path)) {
        let key = format!("{name} being made");
        mounted(&self.prepare(&key, parent).unwrap(), change);
        self.commit(name, &key).unwrap();
    }

    /// Looks at a committed snapshot.
    fn look(&self, name: &str, look: impl FnOnce(&Path)) {
        let key = format!("{name} looked at");
        mounted(&self.view(&key, Some(name)).unwrap(), look);
        self.on().remove(&key).unwrap();
    }

    /// All snapshots that filters match, in the order of names.
    fn list(&self, filters: &[&str]) -> Vec<Info> {
        let mut found = Vec::new();
        let filters = Filters::parse(filters).unwrap();
        self.on()
            .walk(&filters, &mut |info| {
                found.push(info);
                Ok(())
            })
            .unwrap();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    fn names(&self) -> Vec<String> {
        self.list(&[]).into_iter().map(|info| info.name).collect()
    }
}

fn step(name: &str, key: &str) -> Commit {
    Commit { name: name.to_owned(), key: key.to_owned(), ..Commit::default() }
}

/// Mounts for the time of `act`.
fn mounted(mounts: &[Mount], act: impl FnOnce(&Path)) {
    let mount = TempMount::new(mounts).unwrap();
    act(mount.path());
    mount.close().unwrap();
}

/// Asserts that a call failed in a certain way.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}
