//! What a commit verifies, and what it shows.

use std::collections::BTreeMap;

use wharf_types::digest::Algorithm;
use wharf_types::{Digest, ErrorKind, LabelChange};

use super::{blob, ingest, ingest_of, noise, put, refused, written};
use crate::{Commit, ContentStore, Ingest};

super::promises![
    a_blob_is_visible_after_its_commit_and_not_before,
    an_empty_blob_is_a_blob,
    the_computed_digest_counts_where_none_is_expected,
    a_wrong_size_leaves_the_ingest,
    a_wrong_digest_leaves_the_ingest,
    what_was_said_at_the_beginning_counts_at_the_commit,
    a_blob_is_committed_once,
    sha512_can_be_expected_from_the_beginning,
    sha512_can_be_expected_at_the_commit,
    many_writes_of_any_length_make_one_blob,
    one_blob_committed_by_many_at_once_is_whole,
];

fn a_blob_is_visible_after_its_commit_and_not_before(store: &dyn ContentStore) {
    let bytes = b"write, commit, read";
    let known = ingest_of("visible", bytes);
    let digest = Digest::of(bytes);
    let mut writer = store.writer(&known).unwrap();
    writer.write(bytes).unwrap();
    refused(store.info(&digest), ErrorKind::NotFound);
    refused(store.reader(&digest), ErrorKind::NotFound);

    let commit = Commit { size: known.total, expected: known.expected, ..Commit::default() };
    let info = writer.commit(&commit).unwrap();
    assert_eq!((&info.digest, info.size), (&digest, bytes.len() as u64));
    assert_eq!(info.labels, BTreeMap::new());
    assert!(info.created_at <= info.updated_at, "{info:?}");
    assert_eq!(store.info(&digest).unwrap(), info);
    assert_eq!(store.reader(&digest).unwrap().size(), info.size);
    assert_eq!(blob(store, &digest), bytes);
    refused(store.status("visible"), ErrorKind::NotFound);
}

fn an_empty_blob_is_a_blob(store: &dyn ContentStore) {
    let known = ingest_of("empty", b"");
    let info = store.writer(&known).unwrap().commit(&Commit::default()).unwrap();
    assert_eq!((info.digest, info.size), (Digest::of(b""), 0));
    assert_eq!(blob(store, &Digest::of(b"")), b"");
    store.delete(&Digest::of(b"")).unwrap();
}

fn the_computed_digest_counts_where_none_is_expected(store: &dyn ContentStore) {
    let info = put(store, "computed", b"nothing was expected");
    assert_eq!(info.digest, Digest::of(b"nothing was expected"));
}

fn a_wrong_size_leaves_the_ingest(store: &dyn ContentStore) {
    let bytes = b"nineteen characters";
    let mut writer = written(store, "wrong size", bytes);
    for size in [0, 18, 20] {
        let commit = Commit { size: Some(size), ..Commit::default() };
        refused(writer.commit(&commit), ErrorKind::FailedPrecondition);
        refused(store.info(&Digest::of(bytes)), ErrorKind::NotFound);
    }
    assert_eq!(store.status("wrong size").unwrap().offset, 19);
    writer.commit(&Commit { size: Some(19), ..Commit::default() }).unwrap();
    assert_eq!(blob(store, &Digest::of(bytes)), bytes);
}

fn a_wrong_digest_leaves_the_ingest(store: &dyn ContentStore) {
    let (right, wrong) = (b"the digest is right", b"the digest is wrong");
    let commit = Commit { expected: Some(Digest::of(right)), ..Commit::default() };
    let mut writer = written(store, "wrong digest", wrong);
    refused(writer.commit(&commit), ErrorKind::FailedPrecondition);
    drop(writer);
    for digest in [Digest::of(right), Digest::of(wrong)] {
        refused(store.info(&digest), ErrorKind::NotFound);
    }

    let mut writer = store.writer(&ingest("wrong digest")).unwrap();
    assert_eq!(writer.status().offset, 19);
    writer.truncate().unwrap();
    writer.write(right).unwrap();
    writer.commit(&commit).unwrap();
    assert_eq!(blob(store, &Digest::of(right)), right);
}

fn what_was_said_at_the_beginning_counts_at_the_commit(store: &dyn ContentStore) {
    let bytes = b"said at the beginning";
    for wrong in [
        Ingest { total: Some(1), ..ingest_of("said size", bytes) },
        Ingest { expected: Some(Digest::of(b"x")), ..ingest_of("said digest", bytes) },
    ] {
        let mut writer = store.writer(&wrong).unwrap();
        writer.write(bytes).unwrap();
        refused(writer.commit(&Commit::default()), ErrorKind::FailedPrecondition);
        refused(store.info(&Digest::of(bytes)), ErrorKind::NotFound);
        drop(writer);
        store.abort(&wrong.reference).unwrap();
    }
}

fn a_blob_is_committed_once(store: &dyn ContentStore) {
    let bytes = b"twice the same";
    let labels = BTreeMap::from([("first".to_owned(), "yes".to_owned())]);
    let digest = put(store, "once", bytes).digest;
    store.update(&digest, &LabelChange::Replace(labels.clone())).unwrap();

    let mut writer = written(store, "twice", bytes);
    refused(writer.commit(&Commit::default()), ErrorKind::AlreadyExists);
    refused(store.status("twice"), ErrorKind::NotFound);
    assert_eq!(store.info(&digest).unwrap().labels, labels);
    assert_eq!(blob(store, &digest), bytes);
}

/// The SHA-512 of `bytes`.
fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = Algorithm::Sha512.hasher();
    hasher.update(bytes);
    hasher.finish()
}

fn sha512_can_be_expected_from_the_beginning(store: &dyn ContentStore) {
    let (first, second) = (b"sha512 from ".as_slice(), b"the beginning".as_slice());
    let digest = sha512(b"sha512 from the beginning");
    let known = Ingest { expected: Some(digest.clone()), ..ingest("sha512") };
    let mut writer = store.writer(&known).unwrap();
    writer.write(first).unwrap();
    drop(writer);

    let mut writer = store.writer(&known).unwrap();
    assert_eq!(writer.digest(), sha512(first));
    writer.truncate().unwrap();
    assert_eq!(writer.digest(), sha512(b""));
    writer.write(first).unwrap();
    writer.write(second).unwrap();
    assert_eq!(writer.commit(&Commit::default()).unwrap().digest, digest);
    assert_eq!(blob(store, &digest), b"sha512 from the beginning");
}

fn sha512_can_be_expected_at_the_commit(store: &dyn ContentStore) {
    let bytes = b"sha512 at the commit";
    let mut writer = written(store, "late sha512", bytes);
    let expecting = |expected| Commit { expected: Some(expected), ..Commit::default() };
    refused(writer.commit(&expecting(sha512(b"x"))), ErrorKind::FailedPrecondition);
    assert_eq!(writer.commit(&expecting(sha512(bytes))).unwrap().digest, sha512(bytes));
    assert_eq!(blob(store, &sha512(bytes)), bytes);
    refused(store.info(&Digest::of(bytes)), ErrorKind::NotFound);
}

fn many_writes_of_any_length_make_one_blob(store: &dyn ContentStore) {
    let bytes = noise(1, 5 << 20);
    let lengths = noise(2, 4096);
    let known = ingest_of("large", &bytes);
    let mut writer = store.writer(&known).unwrap();
    let mut rest = bytes.as_slice();
    for (number, pair) in lengths.chunks(2).cycle().enumerate() {
        let length = usize::from(pair[0]) * 256 + usize::from(pair[1]);
        let (piece, left) = rest.split_at(length.min(rest.len()));
        writer.write(piece).unwrap();
        rest = left;
        if rest.is_empty() {
            break;
        }
        if number == 40 {
            drop(writer);
            writer = store.writer(&known).unwrap();
            assert_eq!(writer.status().offset, (bytes.len() - rest.len()) as u64);
        }
    }
    let digest = writer.commit(&Commit::default()).unwrap().digest;
    assert!(blob(store, &digest) == bytes, "other bytes were read than were written");
}

fn one_blob_committed_by_many_at_once_is_whole(store: &dyn ContentStore) {
    let bytes = noise(3, 300_000);
    let commit = |number: usize| {
        let mut writer = written(store, &format!("at once {number}"), &bytes);
        match writer.commit(&Commit::default()) {
            Ok(_) => true,
            result => {
                refused(result, ErrorKind::AlreadyExists);
                false
            }
        }
    };
    let won = std::thread::scope(|scope| {
        let commit = &commit;
        let all: Vec<_> = (0..8).map(|number| scope.spawn(move || commit(number))).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
    });
    assert_eq!(won, 1);
    assert!(blob(store, &Digest::of(&bytes)) == bytes, "other bytes were read than were written");
}
