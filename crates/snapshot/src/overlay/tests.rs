mod kill;

use wharf_types::{ErrorKind, Kind as _};

use super::*;

fn open(root: &Path) -> OverlaySnapshotter {
    OverlaySnapshotter::open(root).unwrap()
}

fn step(name: &str, key: &str) -> Commit {
    Commit { name: name.into(), key: key.into(), ..Commit::default() }
}

#[test]
fn it_keeps_the_promises() {
    crate::testsuite::run(&|root| Box::new(open(root)));
}

#[test]
fn mounts_have_containerds_form() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = open(dir.path());
    let fs = |id: u64| dir.path().join(format!("snapshots/{id}/fs")).to_str().unwrap().to_owned();
    let none = Labels::new();
    assert_eq!(snapshots.prepare("k", Base::Empty, &none).unwrap(), [bind(fs(1), "rw")]);
    snapshots.commit(&[step("a", "k")]).unwrap();
    assert_eq!(snapshots.view("v", Some("a"), &none).unwrap(), [bind(fs(1), "ro")]);
    let work = dir.path().join("snapshots/3/work").display().to_string();
    let options = [format!("workdir={work}"), format!("upperdir={}", fs(3)), format!("lowerdir={}", fs(1))];
    let expected = overlay(std::iter::once("index=off".to_owned()).chain(options).collect());
    assert_eq!(snapshots.prepare("k", Base::On("a"), &none).unwrap(), [expected]);
    snapshots.commit(&[step("b", "k")]).unwrap();
    let lower = format!("lowerdir={}:{}", fs(3), fs(1));
    assert_eq!(snapshots.view("w", Some("b"), &none).unwrap(), [overlay(vec!["index=off".into(), lower])]);
    assert_eq!(snapshots.view("empty", None, &none).unwrap(), [bind(fs(5), "ro")]);
}

#[test]
fn what_a_crash_leaves_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = open(dir.path());
    snapshots.prepare("k", Base::Empty, &Labels::new()).unwrap();
    drop(snapshots);
    let below = dir.path().join("snapshots");
    // An unfinished copy; files whose record was never written, under the number that comes next; files whose record is gone.
    for name in ["new-1-2/fs", "2/fs/left", "7/fs", "rm-9-1-1/fs"] {
        fs::create_dir_all(below.join(name)).unwrap();
    }
    let snapshots = open(dir.path());
    assert!(!below.join("new-1-2").exists());
    snapshots.prepare("l", Base::Empty, &Labels::new()).unwrap();
    assert!(!below.join("2/fs/left").exists() && below.join("2/fs").exists());
    snapshots.cleanup().unwrap();
    let mut left: Vec<_> = fs::read_dir(&below).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["1", "2"]);
    let at_root = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(at_root, 2, "metadata.db and snapshots");
}

#[test]
fn a_try_that_was_cut_short_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let point = dir.path().join("probe/mount/wharf-mount-1-1/root");
    fs::create_dir_all(&point).unwrap();
    let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() };
    wharf_sys::mount::mount(&tmpfs, &point).unwrap();
    open(dir.path());
    assert!(!dir.path().join("probe").exists());
}

#[test]
fn what_a_failed_flush_may_have_damaged_is_never_committed() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = open(dir.path());
    let none = Labels::new();
    snapshots.prepare("before", Base::Empty, &none).unwrap();
    snapshots.store.condemn().unwrap();
    snapshots.prepare("after", Base::Empty, &none).unwrap();
    let error = snapshots.commit(&[step("b", "after"), step("a", "before")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.to_string().contains("before"), "{error}");
    snapshots.commit(&[step("b", "after")]).unwrap();
    snapshots.remove("before").unwrap();
    snapshots.prepare("before", Base::Empty, &none).unwrap();
    snapshots.commit(&[step("a", "before")]).unwrap();
}

#[test]
fn lost_records_are_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = open(dir.path());
    snapshots.prepare("k", Base::Empty, &Labels::new()).unwrap();
    drop(snapshots);
    fs::remove_file(dir.path().join("metadata.db")).unwrap();
    let error = OverlaySnapshotter::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    assert!(error.to_string().contains("metadata.db"), "{error}");
    assert!(dir.path().join("snapshots/1/fs").exists());
}

#[test]
fn a_filesystem_that_cannot_hold_layers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for part in ["lower", "upper", "work"] {
        fs::create_dir(dir.path().join(part)).unwrap();
    }
    // An overlay holds no upper directory of another overlay.
    let part = |name: &str| dir.path().join(name).display().to_string();
    let options = vec![
        format!("lowerdir={}", part("lower")),
        format!("upperdir={}", part("upper")),
        format!("workdir={}", part("work")),
    ];
    let mounted = wharf_sys::mount::TempMount::new(&[overlay(options)]).unwrap();
    let error = OverlaySnapshotter::open(mounted.path().join("root")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(error.to_string().contains("choose"), "{error}");
    crate::native::NativeSnapshotter::open(mounted.path().join("other")).unwrap();
    mounted.close().unwrap();
    assert!(OverlaySnapshotter::open(dir.path().join("a:b")).is_err());
}
