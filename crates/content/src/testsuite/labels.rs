//! Labels.

use wharf_types::labels::MAX_BYTES;
use wharf_types::{Digest, ErrorKind, LabelChange, Labels};

use super::{put, refused, written};
use crate::{Commit, ContentStore};

super::promises![
    a_commit_may_bring_labels,
    replace_leaves_no_other_label,
    merge_sets_and_removes_single_labels,
    a_label_that_is_too_long_changes_nothing,
    a_commit_with_a_label_that_is_too_long_shows_nothing,
    an_update_moves_the_time_of_update_alone,
    updates_at_once_lose_none,
];

/// Labels of these keys and values.
fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn a_commit_may_bring_labels(store: &dyn ContentStore) {
    let bytes = b"comes with labels";
    let brought = labels([("containerd.io/gc.ref.content.0", "x"), ("é\n\"", "odd \u{1f}")]);
    let commit = Commit { labels: brought.clone(), ..Commit::default() };
    let info = written(store, "with labels", bytes).commit(&commit).unwrap();
    assert_eq!(info.labels, brought);
    assert_eq!(store.info(&Digest::of(bytes)).unwrap(), info);
}

fn replace_leaves_no_other_label(store: &dyn ContentStore) {
    let digest = put(store, "replace", b"labels to replace").digest;
    for new in [labels([("a", "1"), ("b", "2")]), labels([("b", "3")]), labels([])] {
        let info = store.update(&digest, &LabelChange::Replace(new.clone())).unwrap();
        assert_eq!(info.labels, new);
        assert_eq!(store.info(&digest).unwrap(), info);
    }
}

fn merge_sets_and_removes_single_labels(store: &dyn ContentStore) {
    let digest = put(store, "merge", b"labels to merge").digest;
    let merge = |new| store.update(&digest, &LabelChange::Merge(new)).unwrap().labels;
    assert_eq!(merge(labels([("a", "1"), ("b", "2")])), labels([("a", "1"), ("b", "2")]));
    assert_eq!(merge(labels([("b", "3"), ("c", "4")])), labels([("a", "1"), ("b", "3"), ("c", "4")]));
    assert_eq!(merge(labels([("a", ""), ("none", "")])), labels([("b", "3"), ("c", "4")]));
    assert_eq!(store.info(&digest).unwrap().labels, labels([("b", "3"), ("c", "4")]));
}

fn a_label_that_is_too_long_changes_nothing(store: &dyn ContentStore) {
    let digest = put(store, "long label", b"a label too long").digest;
    let fits = labels([("key", &"v".repeat(MAX_BYTES - 3))]);
    let too_long = labels([("other", "x"), ("key", &"v".repeat(MAX_BYTES - 2))]);
    store.update(&digest, &LabelChange::Replace(fits.clone())).unwrap();
    for change in [LabelChange::Replace(too_long.clone()), LabelChange::Merge(too_long)] {
        refused(store.update(&digest, &change), ErrorKind::InvalidArgument);
        assert_eq!(store.info(&digest).unwrap().labels, fits);
    }
}

fn a_commit_with_a_label_that_is_too_long_shows_nothing(store: &dyn ContentStore) {
    let bytes = b"committed with a label too long";
    let mut writer = written(store, "long label at commit", bytes);
    let commit = Commit { labels: labels([("key", &"v".repeat(MAX_BYTES))]), ..Commit::default() };
    refused(writer.commit(&commit), ErrorKind::InvalidArgument);
    refused(store.info(&Digest::of(bytes)), ErrorKind::NotFound);
    writer.commit(&Commit::default()).unwrap();
}

fn an_update_moves_the_time_of_update_alone(store: &dyn ContentStore) {
    let before = put(store, "times", b"times of an update");
    let change = LabelChange::Merge(labels([("a", "1")]));
    let after = store.update(&before.digest, &change).unwrap();
    assert_eq!((after.created_at, after.size), (before.created_at, before.size));
    assert!(after.updated_at >= before.updated_at, "{before:?} then {after:?}");
}

fn updates_at_once_lose_none(store: &dyn ContentStore) {
    let digest = &put(store, "labels at once", b"labels at once").digest;
    std::thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let change = LabelChange::Merge(labels([(&format!("{number}"), "here")]));
                store.update(digest, &change).unwrap();
            });
        }
    });
    assert_eq!(store.info(digest).unwrap().labels.len(), 8);
}
