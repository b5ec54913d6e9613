use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn tmpfs() -> Mount {
    Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() }
}

fn bind(source: &Path, options: &[&str]) -> Mount {
    Mount {
        kind: "bind".into(),
        source: source.to_str().unwrap().into(),
        target: String::new(),
        options: options.iter().map(|&o| o.into()).collect(),
    }
}

fn errno(error: &std::io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

#[test]
fn stacked_mounts_all_go() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        mount(&tmpfs(), dir.path()).unwrap();
    }
    assert!(is_mount_point(dir.path()).unwrap());
    unmount_all(dir.path()).unwrap();
    assert!(!is_mount_point(dir.path()).unwrap());
    unmount_all(dir.path()).unwrap();
    unmount_all(dir.path().join("missing")).unwrap();
    let error = unmount(dir.path()).unwrap_err();
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_mount_in_use_is_detached() {
    let dir = tempfile::tempdir().unwrap();
    mount(&tmpfs(), dir.path()).unwrap();
    let held = fs::File::create(dir.path().join("held")).unwrap();
    unmount_all(dir.path()).unwrap();
    assert!(!is_mount_point(dir.path()).unwrap());
    drop(held);
}

#[test]
fn a_read_only_bind_is_read_only_below_too() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("s"), dir.path().join("t"));
    fs::create_dir_all(source.join("below")).unwrap();
    fs::create_dir(&target).unwrap();
    mount(&tmpfs(), source.join("below")).unwrap();
    mount(&bind(&source, &["rbind", "ro", "nosuid"]), &target).unwrap();
    for file in ["x", "below/x"] {
        let error = fs::write(target.join(file), "x").unwrap_err();
        assert_eq!(errno(&error), Some(Errno::ROFS), "{file}");
        fs::write(source.join(file), "x").unwrap();
    }
    unmount_all(&target).unwrap();
    unmount_all(source.join("below")).unwrap();
}

#[test]
fn what_was_mounted_before_a_failure_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let mut deeper = tmpfs();
    deeper.target = "in/side".into();
    let error = mount_all(&[tmpfs(), deeper], dir.path()).unwrap_err();
    assert!(matches!(error, Error::Mount { .. }), "{error}");
    assert!(!is_mount_point(dir.path()).unwrap());

    let error = mount_all(&[tmpfs(), bind(&missing, &["ro"])], dir.path()).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("No such file"), "{error}");
    assert!(!is_mount_point(dir.path()).unwrap());
}

#[test]
fn a_target_below_cannot_leave() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(root.join("outside")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink("/outside", root.join("absolute")).unwrap();
    symlink("../../../outside", root.join("upwards")).unwrap();
    for link in ["absolute", "/upwards", "../outside"] {
        let mut mounted = tmpfs();
        mounted.target = link.into();
        mount(&mounted, &root).unwrap();
        assert!(is_mount_point(root.join("outside")).unwrap(), "{link}");
        assert!(!is_mount_point(&outside).unwrap(), "{link}");
        unmount_all(root.join("outside")).unwrap();
    }
}

#[test]
fn an_overlay_of_many_long_paths_mounts() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(200)).join("e".repeat(100));
    let mut lowers = Vec::new();
    for n in 0..150 {
        let lower = if n % 10 == 0 { long.join(format!("{n}")) } else { dir.path().join(format!("layer-{n}")) };
        fs::create_dir_all(&lower).unwrap();
        fs::write(lower.join(format!("file-{n}")), format!("{n}")).unwrap();
        fs::write(lower.join("shared"), format!("{n}")).unwrap();
        lowers.push(lower.to_str().unwrap().to_owned());
    }
    let (upper, work) = (long.join("upper"), long.join("work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let overlay = Mount {
        kind: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec![
            format!("workdir={}", work.display()),
            format!("upperdir={}", upper.display()),
            format!("lowerdir={}", lowers.join(":")),
        ],
    };
    let mounted = TempMount::new(std::slice::from_ref(&overlay)).unwrap();
    assert!((0..150).all(|n| mounted.path().join(format!("file-{n}")).exists()));
    assert_eq!(fs::read_to_string(mounted.path().join("shared")).unwrap(), "0");
    fs::write(mounted.path().join("new"), "x").unwrap();
    mounted.close().unwrap();
    assert!(upper.join("new").exists());

    let mut broken = overlay;
    broken.options.push("upperdir=/nonexistent".into());
    let error = TempMount::new(&[broken]).unwrap_err().to_string();
    assert!(error.contains("nonexistent") || error.contains("No such file"), "{error}");
}

#[test]
fn a_temporary_mount_leaves_nothing_and_deletes_nothing_through_it() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("s");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("kept"), "x").unwrap();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    drop(TempMount::new_in(&place, &[bind(&source, &["rbind", "rw"]), tmpfs()]).unwrap());
    TempMount::new_in(&place, &[bind(&dir.path().join("missing"), &[])]).unwrap_err();
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    assert!(source.join("kept").exists());
}
