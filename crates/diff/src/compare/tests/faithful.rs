//! What is written makes of one tree the other, always in the same bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wharf_types::{Digest, media};

use super::*;

#[test]
fn a_layer_makes_one_tree_of_the_other() {
    let trees = Trees::new();
    let (before, after) = (trees.at("before"), trees.twin("after"));
    change(&after);
    // Only where both trees are directories does one name of a file change by itself.
    std::fs::remove_file(after.join("usr/bin/alias")).unwrap();
    std::fs::write(after.join("usr/bin/alias"), "by itself").unwrap();
    let layer = compare(&[bind(&before)], &[bind(&after)]).unwrap();
    let wanted = seen(&after);
    assert_eq!(apply(&layer, &trees.twin("applied")), wanted);
    assert_eq!(layer, compare(&[bind(&before)], &[bind(&after)]).unwrap());
    // And back.
    let back = compare(&[bind(&after)], &[bind(&before)]).unwrap();
    assert_eq!(apply(&back, &trees.at("applied")), seen(&before));
    // Of nothing, everything.
    let all = compare(&[], &[bind(&after)]).unwrap();
    assert_eq!(apply(&all, &trees.empty("whole")), wanted);
    assert!(entries(&all).iter().all(|path| !path.contains(".wh.")));
}

#[test]
fn a_layer_names_what_changed_its_parents_and_nothing_else() {
    let trees = Trees::new();
    let (before, after) = (trees.at("before"), trees.twin("after"));
    let same = compare(&[bind(&before)], &[bind(&after)]).unwrap();
    assert_eq!(same, [0; 1024]);
    std::fs::write(after.join("usr/lib/y"), "").unwrap();
    std::fs::remove_dir_all(after.join("gone")).unwrap();
    std::fs::remove_file(after.join("etc/conf.d/a")).unwrap();
    std::fs::hard_link(after.join("p1"), after.join("var/cache/a/third")).unwrap();
    mode(&after.join("var/log"), 0o755);
    // A directory's time alone is no change.
    dated(&after.join("become"), 5, 0);
    let layer = compare(&[bind(&before)], &[bind(&after)]).unwrap();
    let wanted = "etc/|etc/conf.d/|etc/conf.d/.wh.a|.wh.gone|usr/|usr/lib/|usr/lib/y|var/|var/cache/|var/cache/a/|\
                  var/cache/a/third|p1 = var/cache/a/third|p2 = var/cache/a/third|var/log/";
    assert_eq!(entries(&layer).join("|"), wanted);
    assert_eq!(inode(&after.join("p1")), inode(&after.join("var/cache/a/third")));
}

#[test]
fn each_compression_holds_the_same_layer() {
    let trees = Trees::new();
    let after = trees.twin("after");
    change(&after);
    let (lower, upper) = ([bind(&trees.at("before"))], [bind(&after)]);
    let plain = compare(&lower, &upper).unwrap();
    let types = [
        (media::OCI_LAYER_GZIP, media::OCI_LAYER_GZIP),
        ("", media::OCI_LAYER_GZIP),
        (media::OCI_LAYER_ZSTD, media::OCI_LAYER_ZSTD),
        (media::DOCKER_LAYER_GZIP, media::DOCKER_LAYER_GZIP),
    ];
    for (asked, wanted) in types {
        let asked = Comparison { media_type: asked.into(), ..Comparison::default() };
        let (layer, compared) = compare_as(&lower, &upper, &asked).unwrap();
        let known = Compared { media_type: wanted.into(), diff_id: Digest::of(&plain), size: plain.len() as u64 };
        assert_eq!(compared, known);
        assert!(layer.len() < plain.len() / 4, "{} of {} bytes", layer.len(), plain.len());
        assert_eq!(compare_as(&lower, &upper, &asked).unwrap().0, layer, "{wanted} differs from time to time");
        let onto = tempfile::tempdir().unwrap();
        let applied = LayerApplier::new().apply(&mut layer.as_slice(), wanted, &[bind(onto.path())]).unwrap();
        assert_eq!((applied.diff_id, applied.size), (compared.diff_id, compared.size));
    }
}

#[test]
fn no_time_is_later_than_the_one_that_is_asked_for() {
    let trees = Trees::new();
    let after = trees.twin("after");
    change(&after);
    let epoch = UNIX_EPOCH + Duration::new(1_450_000_000, 0);
    let times = |epoch: Option<SystemTime>| {
        let wanted = Comparison { source_date_epoch: epoch, ..plain() };
        let (layer, _) = compare_as(&[bind(&trees.at("before"))], &[bind(&after)], &wanted).unwrap();
        let failed = std::cell::Cell::new(false);
        let source = crate::archive::Source::new(Box::new(layer.as_slice()), &failed, u64::MAX);
        let mut reader = crate::archive::Reader::new(source);
        let mut times = std::collections::BTreeMap::new();
        while let Some(entry) = reader.next().unwrap() {
            times.insert(String::from_utf8_lossy(&entry.path).into_owned(), (entry.mtime.seconds, entry.mtime.nanos));
        }
        times
    };
    let (free, bound) = (times(None), times(Some(epoch)));
    assert_eq!((free[".wh.gone"], bound[".wh.gone"]), ((0, 0), (1_450_000_000, 0)));
    assert_eq!((free["dangling"], bound["dangling"]), ((1_400_000_000, 0), (1_400_000_000, 0)));
    assert_eq!((free["cut"], bound["cut"]), ((1_500_000_000, 0), (1_450_000_000, 0)));
    assert_eq!((free["touched"], bound["touched"]), ((-5, 250_000_000), (-5, 250_000_000)));
    assert!(bound.values().all(|time| *time <= (1_450_000_000, 0)), "{bound:?}");
    let before = UNIX_EPOCH - Duration::new(9, 1);
    assert_eq!(times(Some(before))["cut"], (-10, 999_999_999));
}
