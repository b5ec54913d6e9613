//! Blobs, once they are committed.

use std::collections::BTreeSet;

use wharf_types::{Digest, ErrorKind, Filters, LabelChange, Labels};

use super::{all, filter, ingest, noise, put, refused};
use crate::{ContentStore, Error, Ingest};

super::promises![
    reads_may_reach_over_the_end,
    a_deleted_blob_is_gone,
    an_open_reader_goes_on_after_delete,
    a_deleted_blob_can_be_committed_again,
    an_unknown_blob_is_not_found_anywhere,
    walk_visits_each_blob_once,
    walk_visits_what_the_filters_match,
    walk_ends_with_the_first_error,
    blobs_may_be_deleted_during_a_walk,
];

fn reads_may_reach_over_the_end(store: &dyn ContentStore) {
    let bytes = noise(4, 10_000);
    let digest = put(store, "ranges", &bytes).digest;
    let reader = store.reader(&digest).unwrap();
    let read = |offset: u64, length: usize| {
        let mut buffer = vec![0; length];
        let read = reader.read_at(&mut buffer, offset).unwrap();
        buffer.truncate(read);
        buffer
    };
    assert_eq!(read(0, 100), bytes[..100]);
    assert_eq!(read(4_321, 1_000), bytes[4_321..5_321]);
    assert_eq!(read(9_990, 100), bytes[9_990..]);
    for (offset, length) in [(10_000, 1), (10_001, 1), (u64::MAX, 1), (0, 0), (u64::MAX, 0)] {
        assert_eq!(read(offset, length), b"");
    }
}

fn a_deleted_blob_is_gone(store: &dyn ContentStore) {
    let digest = put(store, "deleted", b"to be deleted").digest;
    store.delete(&digest).unwrap();
    refused(store.info(&digest), ErrorKind::NotFound);
    refused(store.reader(&digest), ErrorKind::NotFound);
    refused(store.delete(&digest), ErrorKind::NotFound);
    assert!(!digests(store, &Filters::all()).contains(&digest));
}

fn an_open_reader_goes_on_after_delete(store: &dyn ContentStore) {
    let bytes = noise(5, 100_000);
    let digest = put(store, "read on", &bytes).digest;
    let reader = store.reader(&digest).unwrap();
    store.delete(&digest).unwrap();
    assert!(all(reader.as_ref()) == bytes, "other bytes were read than were written");
}

fn a_deleted_blob_can_be_committed_again(store: &dyn ContentStore) {
    let labels = Labels::from([("old".to_owned(), "yes".to_owned())]);
    let digest = put(store, "again", b"deleted, and again").digest;
    store.update(&digest, &LabelChange::Replace(labels)).unwrap();
    store.delete(&digest).unwrap();
    let info = put(store, "again", b"deleted, and again");
    assert_eq!((info.digest, info.labels), (digest, Labels::new()));
}

fn an_unknown_blob_is_not_found_anywhere(store: &dyn ContentStore) {
    let unknown = Digest::of(b"never committed");
    refused(store.info(&unknown), ErrorKind::NotFound);
    refused(store.reader(&unknown), ErrorKind::NotFound);
    refused(store.delete(&unknown), ErrorKind::NotFound);
    for change in [LabelChange::Replace(Labels::new()), LabelChange::Merge(Labels::new())] {
        refused(store.update(&unknown, &change), ErrorKind::NotFound);
    }
    // To expect it is no reason for it to exist.
    let known = Ingest { expected: Some(unknown.clone()), ..ingest("expected only") };
    drop(store.writer(&known).unwrap());
    refused(store.info(&unknown), ErrorKind::NotFound);
}

fn walk_visits_each_blob_once(store: &dyn ContentStore) {
    let put = |name: &str| put(store, name, name.as_bytes()).digest;
    let ours: BTreeSet<_> = ["walk 1", "walk 2", "walk 3"].into_iter().map(put).collect();
    let found = digests(store, &Filters::all());
    let unique: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(unique.len(), found.len());
    assert!(unique.is_superset(&ours), "{unique:?}");
}

fn walk_visits_what_the_filters_match(store: &dyn ContentStore) {
    let one = put(store, "filter 1", &noise(6, 54_321)).digest;
    let other = put(store, "filter 2", &noise(7, 54_322)).digest;
    let label = |value: &str| LabelChange::Replace(Labels::from([("wharf.test/walk".to_owned(), value.to_owned())]));
    store.update(&one, &label("one")).unwrap();
    store.update(&other, &label("other")).unwrap();

    let found = |text: &str| digests(store, &filter(text));
    let only_one = [one.clone()];
    assert_eq!(found(&format!("digest=={one}")), only_one);
    assert_eq!(found("size==54321"), only_one);
    assert_eq!(found(r#"labels."wharf.test/walk"==one"#), only_one);
    assert_eq!(found(r#"labels."wharf.test/walk"==one,size==54322"#), []);
    assert_eq!(found(r#"labels."wharf.test/walk""#).len(), 2);
    let either = Filters::parse(&[format!("digest=={one}"), format!("digest=={other}")]).unwrap();
    let both: BTreeSet<_> = digests(store, &either).into_iter().collect();
    assert_eq!(both, BTreeSet::from([one, other]));
}

fn walk_ends_with_the_first_error(store: &dyn ContentStore) {
    put(store, "walk error 1", b"walk error 1");
    put(store, "walk error 2", b"walk error 2");
    let mut visits = 0;
    let result = store.walk(&Filters::all(), &mut |_| {
        visits += 1;
        Err(Error::Invalid("enough".to_owned()))
    });
    refused(result, ErrorKind::InvalidArgument);
    assert_eq!(visits, 1);
}

fn blobs_may_be_deleted_during_a_walk(store: &dyn ContentStore) {
    for number in 0..20 {
        let info = put(store, "walk and delete", &noise(100 + number, 777));
        let label = Labels::from([("wharf.test/doomed".to_owned(), "yes".to_owned())]);
        store.update(&info.digest, &LabelChange::Merge(label)).unwrap();
    }
    let doomed = filter(r#"labels."wharf.test/doomed"==yes"#);
    let mut visits = 0;
    let visit = &mut |info: crate::Info| {
        visits += 1;
        store.delete(&info.digest)
    };
    store.walk(&doomed, visit).unwrap();
    assert_eq!(visits, 20);
    assert_eq!(digests(store, &doomed), []);
}

/// The digests that a walk visits.
fn digests(store: &dyn ContentStore, filters: &Filters) -> Vec<Digest> {
    let mut found = Vec::new();
    let visit = &mut |info: crate::Info| {
        found.push(info.digest);
        Ok(())
    };
    store.walk(filters, visit).unwrap();
    found
}
