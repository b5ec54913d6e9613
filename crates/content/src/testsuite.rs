//! What every [`ContentStore`] must do, as cases that any implementation can run.
//!
//! ```
//! use wharf_content::{LocalStore, testsuite};
//!
//! testsuite::run(|root| Box::new(LocalStore::open(root).expect("open a store")));
//! ```
//!
//! A case panics with the place and the values when a promise is broken. Cases judge errors by their kind alone, and each
//! uses references and bytes of its own, so that all may also run on one store, in any order or at once.

// A case that fails panics: that is how a test says so.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod blobs;
mod commits;
mod ingests;
mod labels;

use std::path::Path;

use wharf_types::{Digest, ErrorKind, Filters, Kind as _};

use crate::{Commit, ContentStore, Info, Ingest, Reader, Result, Writer};

/// One promise of a store.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is promised, in the words of a function's name.
    pub name: &'static str,
    /// Panics when a store breaks the promise.
    pub run: fn(&dyn ContentStore),
}

/// Runs each case against a store that `open` makes in an empty directory.
///
/// # Panics
/// When a promise is broken, or there is no place for a directory.
pub fn run(open: impl Fn(&Path) -> Box<dyn ContentStore>) {
    for case in cases() {
        let root = tempfile::tempdir().unwrap();
        let named = Named(case.name);
        (case.run)(open(root.path()).as_ref());
        drop(named);
    }
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    [ingests::CASES, commits::CASES, blobs::CASES, labels::CASES].concat()
}

/// Says which case it was that panicked.
struct Named(&'static str);

impl Drop for Named {
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a content store broke this promise: {}", self.0);
        }
    }
}

/// Cases named after their functions.
macro_rules! promises {
    ($($case:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] =
            &[$(super::Case { name: stringify!($case), run: $case }),*];
    };
}
use promises;

/// An ingest of which nothing is known but its reference.
fn ingest(reference: &str) -> Ingest {
    Ingest { reference: reference.to_owned(), ..Ingest::default() }
}

/// An ingest of which all is known.
fn ingest_of(reference: &str, bytes: &[u8]) -> Ingest {
    Ingest { reference: reference.to_owned(), total: Some(bytes.len() as u64), expected: Some(Digest::of(bytes)) }
}

/// A writer that has written `bytes`.
fn written(store: &dyn ContentStore, reference: &str, bytes: &[u8]) -> Box<dyn Writer> {
    let mut writer = store.writer(&ingest(reference)).unwrap();
    writer.write(bytes).unwrap();
    writer
}

/// Commits `bytes` as a blob.
fn put(store: &dyn ContentStore, reference: &str, bytes: &[u8]) -> Info {
    written(store, reference, bytes).commit(&Commit::default()).unwrap()
}

/// All bytes of a reader, in reads of an odd length.
fn all(reader: &dyn Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 65_521];
    loop {
        match reader.read_at(&mut piece, bytes.len() as u64).unwrap() {
            0 => return bytes,
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// All bytes of a blob.
fn blob(store: &dyn ContentStore, digest: &Digest) -> Vec<u8> {
    all(store.reader(digest).unwrap().as_ref())
}

/// Bytes without a pattern, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The filter `text`.
fn filter(text: &str) -> Filters {
    Filters::parse(&[text]).unwrap()
}

/// Panics unless `result` is an error of `kind`.
#[track_caller]
fn refused<T>(result: Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("it went well, {kind} was promised"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}
