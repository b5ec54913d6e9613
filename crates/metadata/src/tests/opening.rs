//! A file that is not whole is refused, by name, with a way out, and stays as it is.

use std::fs;

use wharf_types::ErrorKind;

use super::{Env, namespace, refused};
use crate::{Database, Namespaces, Result, Sharing};

impl Env {
    /// Closes the database and opens it again.
    fn reopened(self, between: impl FnOnce(&std::path::Path)) -> (Self, Result<()>) {
        let Self { dir, content, snapshots, clock, db } = self;
        drop(db);
        let file = dir.path().join("meta.db");
        between(&file);
        let before = fs::read(&file).ok();
        match super::open(dir.path(), content.clone(), snapshots.clone(), &clock, Sharing::Shared) {
            Ok(db) => (Self { dir, content, snapshots, clock, db }, Ok(())),
            Err(error) => {
                assert_eq!(fs::read(&file).ok(), before, "a file that was refused was changed: {error}");
                let env = Self::new();
                (env, Err(error))
            }
        }
    }
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let env = Env::new();
    Namespaces::create(&env.db, &namespace("kept"), &super::map(&[("a", "b")])).unwrap();
    let (env, opened) = env.reopened(|_| {});
    opened.unwrap();
    assert_eq!(Namespaces::get(&env.db, &namespace("kept")).unwrap().labels, super::map(&[("a", "b")]));
}

#[test]
fn a_file_that_is_not_whole_is_refused() {
    let damages: [(&str, fn(&std::path::Path)); 5] = [
        ("empty", |file| fs::write(file, b"").unwrap()),
        ("foreign", |file| fs::write(file, vec![b'x'; 100_000]).unwrap()),
        ("torn", |file| {
            let whole = fs::read(file).unwrap();
            fs::write(file, &whole[..whole.len() / 3]).unwrap();
        }),
        ("zeroed", |file| {
            let whole = fs::read(file).unwrap();
            fs::write(file, vec![0; whole.len()]).unwrap();
        }),
        ("missing", |file| fs::remove_file(file).unwrap()),
    ];
    for (what, damage) in damages {
        let env = Env::new();
        env.put("n", None, b"something to lose", &[]);
        let words = refused(env.reopened(damage).1, ErrorKind::DataLoss);
        assert!(words.contains("meta.db") && words.contains("begin again"), "{what}: {words}");
    }
}

#[test]
fn flipped_bits_are_found_or_harmless() {
    let env = Env::new();
    for number in 0..20 {
        env.put("n", None, format!("blob {number}").as_bytes(), &[("some", "label")]);
    }
    let dir = tempfile::tempdir().unwrap();
    let file = env.dir.path().join("meta.db");
    drop(env.db);
    let whole = fs::read(&file).unwrap();
    let (mut refusals, mut position) = (0, 0);
    while position < whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        let copy = dir.path().join("meta.db");
        fs::write(&copy, &flipped).unwrap();
        match Database::open(&copy, env.content.clone(), [("native".to_owned(), env.snapshots.clone())].into()) {
            Ok(db) => {
                let mut seen = 0;
                db.content(&namespace("n"), None).walk(&wharf_types::Filters::all(), &mut |_| Ok(seen += 1)).unwrap();
                assert_eq!(seen, 20, "blobs were lost with bit 4 of byte {position}");
            }
            Err(error) => {
                assert!(error.to_string().contains("meta.db"), "{error}");
                refusals += 1;
            }
        }
        position += whole.len() / 97;
    }
    assert!(refusals > 0, "no flipped bit was found");
}

#[test]
fn a_database_is_open_once() {
    let env = Env::new();
    let again = super::open(env.dir.path(), env.content.clone(), env.snapshots.clone(), &env.clock, Sharing::Shared);
    let words = refused(again.map(drop), ErrorKind::FailedPrecondition);
    assert!(words.contains("another process"), "{words}");
}
