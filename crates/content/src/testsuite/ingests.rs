//! Ingests, until they are committed.

use std::time::SystemTime;

use wharf_types::{Digest, ErrorKind, Filters};

use super::{all, blob, filter, ingest, ingest_of, put, refused, written};
use crate::{Commit, ContentStore, Ingest};

super::promises![
    a_dropped_ingest_goes_on_where_it_stood,
    the_status_follows_what_is_written,
    what_is_known_at_the_beginning_is_kept,
    truncate_begins_again,
    a_reference_has_one_writer_at_a_time,
    a_reference_is_free_after_a_commit,
    abort_removes_an_ingest,
    an_aborted_ingest_cannot_be_committed,
    abort_of_an_unknown_reference_is_not_found,
    status_of_an_unknown_reference_is_not_found,
    statuses_lists_each_ingest,
    another_total_is_refused,
    more_bytes_than_the_total_begin_again,
    an_empty_reference_is_refused,
    a_reference_may_be_any_text,
    what_is_written_can_be_read_before_the_commit,
    a_writer_is_done_after_its_commit,
    an_expected_blob_that_exists_needs_no_writer,
];

fn a_dropped_ingest_goes_on_where_it_stood(store: &dyn ContentStore) {
    let bytes = b"half of it, and the other half";
    let (first, second) = bytes.split_at(11);
    drop(written(store, "resume", first));

    let mut writer = store.writer(&ingest("resume")).unwrap();
    assert_eq!(writer.status().offset, 11);
    assert_eq!(writer.digest(), Digest::of(first));
    writer.write(second).unwrap();
    assert_eq!(writer.digest(), Digest::of(bytes));
    let commit = Commit { size: Some(30), expected: Some(Digest::of(bytes)), ..Commit::default() };
    let info = writer.commit(&commit).unwrap();
    assert_eq!(blob(store, &info.digest), bytes);
}

fn the_status_follows_what_is_written(store: &dyn ContentStore) {
    let before = SystemTime::now();
    let mut writer = store.writer(&ingest("status follows")).unwrap();
    let started = writer.status().started_at;
    assert!(before <= started && started <= SystemTime::now(), "{before:?} {started:?}");
    assert_eq!(writer.status().offset, 0);
    assert_eq!(writer.digest(), Digest::of(b""));
    for (number, expected) in [b"a".as_slice(), b"aa", b"aaa"].iter().zip(1..) {
        writer.write(b"a").unwrap();
        assert_eq!(writer.digest(), Digest::of(number));
        for status in [writer.status(), store.status("status follows").unwrap()] {
            assert_eq!(status.reference, "status follows");
            assert_eq!(status.offset, expected);
            assert!(status.started_at <= status.updated_at, "{status:?}");
        }
    }
    writer.write(b"").unwrap();
    assert_eq!(writer.status().offset, 3);
    let before = SystemTime::now();
    writer.write(b"a").unwrap();
    let updated = writer.status().updated_at;
    assert!(before <= updated && updated <= SystemTime::now(), "{before:?} {updated:?}");
    drop(writer);
    assert_eq!(store.writer(&ingest("status follows")).unwrap().status().updated_at, updated);
}

fn what_is_known_at_the_beginning_is_kept(store: &dyn ContentStore) {
    let known = ingest_of("known", b"bytes that are known");
    drop(store.writer(&known).unwrap());
    let status = store.status("known").unwrap();
    assert_eq!((status.total, status.expected), (known.total, known.expected.clone()));

    let writer = store.writer(&ingest("known")).unwrap();
    let status = writer.status();
    assert_eq!((status.total, status.expected), (known.total, known.expected));
}

fn truncate_begins_again(store: &dyn ContentStore) {
    let mut writer = written(store, "truncate", b"the wrong bytes, and many of them");
    writer.truncate().unwrap();
    assert_eq!(writer.status().offset, 0);
    assert_eq!(writer.digest(), Digest::of(b""));
    assert_eq!(store.status("truncate").unwrap().offset, 0);
    writer.write(b"the right bytes").unwrap();
    let info = writer.commit(&Commit::default()).unwrap();
    assert_eq!(info.digest, Digest::of(b"the right bytes"));
    assert_eq!(blob(store, &info.digest), b"the right bytes");
}

fn a_reference_has_one_writer_at_a_time(store: &dyn ContentStore) {
    let writer = written(store, "locked", b"one");
    refused(store.writer(&ingest("locked")), ErrorKind::Unavailable);
    drop(written(store, "locked too", b"another"));
    drop(writer);
    assert_eq!(store.writer(&ingest("locked")).unwrap().status().offset, 3);
}

fn a_reference_is_free_after_a_commit(store: &dyn ContentStore) {
    let mut writer = written(store, "free again", b"free after a commit");
    writer.commit(&Commit::default()).unwrap();
    refused(store.status("free again"), ErrorKind::NotFound);
    let next = store.writer(&ingest("free again")).unwrap();
    assert_eq!(next.status().offset, 0);
    drop(writer);
    refused(store.writer(&ingest("free again")), ErrorKind::Unavailable);
}

fn abort_removes_an_ingest(store: &dyn ContentStore) {
    drop(written(store, "abort", b"given up"));
    store.abort("abort").unwrap();
    refused(store.status("abort"), ErrorKind::NotFound);
    refused(store.abort("abort"), ErrorKind::NotFound);
    assert_eq!(store.writer(&ingest("abort")).unwrap().status().offset, 0);
}

fn an_aborted_ingest_cannot_be_committed(store: &dyn ContentStore) {
    let mut writer = written(store, "aborted", b"given up while it is written");
    store.abort("aborted").unwrap();
    refused(writer.commit(&Commit::default()), ErrorKind::NotFound);
    refused(store.info(&Digest::of(b"given up while it is written")), ErrorKind::NotFound);
}

fn abort_of_an_unknown_reference_is_not_found(store: &dyn ContentStore) {
    refused(store.abort("never begun"), ErrorKind::NotFound);
}

fn status_of_an_unknown_reference_is_not_found(store: &dyn ContentStore) {
    refused(store.status("never begun"), ErrorKind::NotFound);
}

fn statuses_lists_each_ingest(store: &dyn ContentStore) {
    drop(written(store, "list-a", b"a"));
    let open = written(store, "list-b", b"bb");
    put(store, "list-c", b"committed, so no ingest");
    let list = |filters: &Filters| {
        let mut found: Vec<_> = store.statuses(filters).unwrap();
        found.retain(|status| status.reference.starts_with("list-"));
        found.sort_by(|one, other| one.reference.cmp(&other.reference));
        found.into_iter().map(|status| (status.reference, status.offset)).collect::<Vec<_>>()
    };
    let (a, b) = (("list-a".to_owned(), 1), ("list-b".to_owned(), 2));
    assert_eq!(list(&Filters::all()), [a, b.clone()]);
    assert_eq!(list(&filter("ref==list-b")), [b]);
    drop(open);
}

fn another_total_is_refused(store: &dyn ContentStore) {
    let sized = |total| Ingest { total, ..ingest("total") };
    drop(store.writer(&sized(None)).unwrap());
    drop(store.writer(&sized(Some(5))).unwrap());
    assert_eq!(store.status("total").unwrap().total, Some(5));
    refused(store.writer(&sized(Some(6))), ErrorKind::FailedPrecondition);
    assert_eq!(store.writer(&sized(None)).unwrap().status().total, Some(5));
}

fn more_bytes_than_the_total_begin_again(store: &dyn ContentStore) {
    let known = ingest_of("too many", b"five5");
    let mut writer = store.writer(&known).unwrap();
    writer.write(b"five5 and more").unwrap();
    refused(writer.commit(&Commit::default()), ErrorKind::FailedPrecondition);
    drop(writer);
    let mut writer = store.writer(&known).unwrap();
    assert_eq!((writer.status().offset, writer.digest()), (0, Digest::of(b"")));
    writer.write(b"five5").unwrap();
    assert_eq!(writer.commit(&Commit::default()).unwrap().size, 5);
}

fn an_empty_reference_is_refused(store: &dyn ContentStore) {
    refused(store.writer(&ingest("")), ErrorKind::InvalidArgument);
}

fn a_reference_may_be_any_text(store: &dyn ContentStore) {
    let long = "x/".repeat(500);
    let references = ["..", "/", "a/b", "a\nb", "é", "sha256:", " ", "\u{0}", &long];
    for reference in references {
        drop(written(store, reference, reference.as_bytes()));
    }
    for reference in references {
        let status = store.status(reference).unwrap();
        assert_eq!((status.reference.as_str(), status.offset), (reference, reference.len() as u64));
        store.abort(reference).unwrap();
    }
}

fn what_is_written_can_be_read_before_the_commit(store: &dyn ContentStore) {
    let mut writer = written(store, "so far", b"so far");
    let reader = writer.reader().unwrap();
    writer.write(b", so good").unwrap();
    assert_eq!((reader.size(), all(reader.as_ref())), (6, b"so far".to_vec()));
    let reader = writer.reader().unwrap();
    assert_eq!((reader.size(), all(reader.as_ref())), (15, b"so far, so good".to_vec()));
}

fn a_writer_is_done_after_its_commit(store: &dyn ContentStore) {
    let mut writer = written(store, "done", b"done once");
    writer.commit(&Commit::default()).unwrap();
    refused(writer.write(b"more"), ErrorKind::FailedPrecondition);
    refused(writer.truncate(), ErrorKind::FailedPrecondition);
    refused(writer.commit(&Commit::default()), ErrorKind::FailedPrecondition);
    assert_eq!(blob(store, &Digest::of(b"done once")), b"done once");
}

fn an_expected_blob_that_exists_needs_no_writer(store: &dyn ContentStore) {
    put(store, "exists", b"here already");
    let known = ingest_of("exists again", b"here already");
    refused(store.writer(&known), ErrorKind::AlreadyExists);
    refused(store.status("exists again"), ErrorKind::NotFound);
}
