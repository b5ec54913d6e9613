//! Overlays, read by their upper directory or as a whole: both say the same.

use wharf_sys::mount::TempMount;

use super::*;

fn overlay(lower: &[&Path], upper: Option<(&Path, &Path)>, more: &[&str]) -> Mount {
    let lower = lower.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":");
    let mut options = vec![format!("lowerdir={lower}")];
    if let Some((upper, work)) = upper {
        options.extend([format!("upperdir={}", upper.display()), format!("workdir={}", work.display())]);
    }
    options.extend(more.iter().map(|&o| o.to_owned()));
    Mount { kind: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }
}

/// The same directory by a longer path, so that it is not known for the same.
fn disguised(path: &Path) -> Mount {
    bind(&path.join("../before"))
}

#[test]
fn an_upper_directory_and_the_whole_overlay_say_the_same() {
    for (more, marks) in [(&[][..], true), (&["userxattr"], true), (&["index=on"], false)] {
        let trees = Trees::new();
        let (before, upper, work) = (trees.at("before"), trees.empty("upper"), trees.empty("work"));
        let mount = overlay(&[&before], Some((&upper, &work)), more);
        let mounted = TempMount::new(std::slice::from_ref(&mount)).unwrap();
        change(mounted.path());
        let wanted = seen(mounted.path());
        // While it is mounted and in use, as for a running container.
        let quick = compare(&[bind(&before)], std::slice::from_ref(&mount)).unwrap();
        mounted.close().unwrap();
        let walked = compare(&[disguised(&before)], std::slice::from_ref(&mount)).unwrap();
        let names = (entries(&quick), entries(&walked));
        assert_eq!(names.0.contains(&"again/.wh..wh..opq".to_owned()), marks, "{more:?}");
        assert!(!names.1.contains(&"again/.wh..wh..opq".to_owned()));
        let without =
            |names: &[String]| names.iter().filter(|n| !n.starts_with("again/.wh.")).cloned().collect::<Vec<_>>();
        assert_eq!(without(&names.0), without(&names.1), "{more:?}");
        assert!(!names.0.contains(&"etc/same".to_owned()), "what was only opened is no change");
        for (name, layer) in [("quick", quick), ("walked", walked)] {
            assert_eq!(apply(&layer, &trees.twin(name)), wanted, "{name}, {more:?}");
        }
    }
}

#[test]
fn what_overlayfs_left_below_is_found() {
    let trees = Trees::new();
    let (before, upper, work) = (trees.at("before"), trees.empty("upper"), trees.empty("work"));
    let more = ["redirect_dir=on", "metacopy=on"];
    let mount = overlay(&[&before], Some((&upper, &work)), &more);
    let mounted = TempMount::new(std::slice::from_ref(&mount)).unwrap();
    std::fs::rename(mounted.path().join("usr"), mounted.path().join("moved")).unwrap();
    mode(&mounted.path().join("etc/passwd"), 0o600);
    let wanted = seen(mounted.path());
    mounted.close().unwrap();
    assert!(crate::testing::xattrs(&upper.join("etc/passwd")).contains_key("trusted.overlay.metacopy"));
    let layer = compare(&[bind(&before)], &[mount]).unwrap();
    assert_eq!(apply(&layer, &trees.twin("applied")), wanted);
    assert!(wanted.contains_key("moved/lib/x") && !wanted.contains_key("usr"));
}

/// As `ctr snapshot diff` and `ctr image` ask: the view of a parent against an active or a committed snapshot.
#[test]
fn layers_of_a_chain_of_snapshots_are_their_differences() {
    let trees = Trees::new();
    let (bottom, top, more) = (trees.at("before"), trees.empty("top"), trees.empty("more"));
    let (work, above) = (trees.empty("work"), trees.empty("above"));
    let view = |dirs: &[&Path]| overlay(dirs, None, &["index=off"]);
    let first = TempMount::new(&[overlay(&[&bottom], Some((&top, &work)), &["index=off"])]).unwrap();
    change(first.path());
    let wanted_first = seen(first.path());
    first.close().unwrap();
    // Committed: the upper directory is a lower one now.
    let committed = compare(&[bind(&bottom)], &[view(&[&top, &bottom])]).unwrap();
    assert!(entries(&committed).contains(&"again/.wh..wh..opq".to_owned()));
    assert_eq!(apply(&committed, &trees.twin("first")), wanted_first);
    // Active, on top of that.
    let active = overlay(&[&top, &bottom], Some((&more, &above)), &["index=off", "volatile"]);
    let second = TempMount::new(std::slice::from_ref(&active)).unwrap();
    std::fs::remove_dir_all(second.path().join("again")).unwrap();
    std::fs::create_dir(second.path().join("gone")).unwrap();
    std::fs::write(second.path().join("become"), "again").unwrap();
    let wanted_second = seen(second.path());
    second.close().unwrap();
    let layer = compare(&[view(&[&top, &bottom])], &[active]).unwrap();
    assert_eq!(entries(&layer), [".wh.again", "become", "gone/"]);
    assert_eq!(apply(&layer, &trees.at("first")), wanted_second);
    // The bottom itself, and all at once.
    assert_eq!(apply(&compare(&[], &[bind(&bottom)]).unwrap(), &trees.empty("alone")), seen(&bottom));
    let all = compare(&[], &[view(&[&more, &top, &bottom])]).unwrap();
    assert_eq!(apply(&all, &trees.empty("all")), wanted_second);
}

#[test]
fn whiteouts_of_what_was_never_there_are_not_passed_on() {
    let trees = Trees::new();
    let (before, upper, work) = (trees.at("before"), trees.empty("upper"), trees.empty("work"));
    node(&upper.join("never"), FileType::CharacterDevice, 0);
    node(&upper.join("file"), FileType::CharacterDevice, 0);
    std::fs::create_dir(upper.join("new")).unwrap();
    attribute(&upper.join("new"), "trusted.overlay.opaque", b"y");
    node(&upper.join("new/never"), FileType::CharacterDevice, 0);
    let layer = compare(&[bind(&before)], &[overlay(&[&before], Some((&upper, &work)), &[])]).unwrap();
    assert_eq!(entries(&layer), [".wh.file", "new/"]);
    // The lowest layer of an image, as its extraction left it.
    let lowest = compare(&[], &[bind(&upper)]).unwrap();
    assert_eq!(entries(&lowest), ["new/"]);
}
