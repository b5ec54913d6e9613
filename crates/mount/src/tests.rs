//! Real mounts, with real records.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use wharf_content::LocalStore;
use wharf_metadata::{Activations, Database, Leases};
use wharf_sys::mount::{is_mount_point, mount, unmount_all};
use wharf_types::{ErrorKind, Filters, Kind as _, Labels, Mount, Namespace};

use crate::{Activate, MountManager, Mounts};

struct Env {
    dir: TempDir,
    database: Database,
    mounts: Mounts,
    ns: Namespace,
}

impl Env {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let content = Arc::new(LocalStore::open(dir.path().join("content")).unwrap());
        let database = Database::open(dir.path().join("meta.db"), content, [].into()).unwrap();
        let mounts = Mounts::open(dir.path().join("m"), Arc::new(database.clone())).unwrap();
        Self { dir, database, mounts, ns: "n".parse().unwrap() }
    }

    fn again(&mut self) {
        self.mounts = Mounts::open(self.dir.path().join("m"), Arc::new(self.database.clone())).unwrap();
    }

    fn left(&self) -> usize {
        fs::read_dir(self.dir.path().join("m")).unwrap().count()
    }
}

fn tmpfs() -> Mount {
    Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() }
}

fn overlay(options: &[&str]) -> Mount {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    Mount { kind: "format/overlay".into(), source: "overlay".into(), target: String::new(), options }
}

fn asked(name: &str, mounts: Vec<Mount>) -> Activate {
    Activate { name: name.into(), mounts, ..Activate::default() }
}

fn temporary(name: &str, mounts: Vec<Mount>) -> Activate {
    Activate { temporary: true, ..asked(name, mounts) }
}

#[test]
fn all_of_a_temporary_one_is_mounted_and_goes_with_its_name() {
    let env = Env::new();
    let made = env.mounts.activate(&env.ns, temporary("a", vec![tmpfs(), tmpfs()])).unwrap();
    assert_eq!((made.active.len(), made.system.len()), (2, 1));
    assert_eq!((made.system[0].kind.as_str(), made.system[0].source.as_str()), ("bind", made.active[1].point.as_str()));
    assert!(made.active.iter().all(|active| is_mount_point(&active.point).unwrap()));
    let target = env.dir.path().join("t");
    fs::create_dir(&target).unwrap();
    mount(&made.system[0], &target).unwrap();
    fs::write(target.join("x"), "").unwrap();
    assert!(Path::new(&made.active[1].point).join("x").exists());
    unmount_all(&target).unwrap();

    assert_eq!(env.mounts.info(&env.ns, "a").unwrap(), made);
    assert_eq!(env.mounts.list(&env.ns, &Filters::all()).unwrap(), [made]);
    let again = env.mounts.activate(&env.ns, temporary("a", vec![tmpfs()])).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    env.mounts.deactivate(&env.ns, "a").unwrap();
    assert_eq!(env.left(), 0);
    assert_eq!(env.mounts.deactivate(&env.ns, "a").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn templates_have_what_is_before_them_mounted() {
    let env = Env::new();
    let upper = overlay(&["lowerdir={{ overlay 1 0 }}"]);
    let made = env.mounts.activate(&env.ns, asked("a", vec![tmpfs(), tmpfs(), upper])).unwrap();
    assert_eq!((made.active.len(), made.system.len(), made.system[0].kind.as_str()), (2, 1, "overlay"));
    fs::write(Path::new(&made.active[0].point).join("low"), "").unwrap();
    fs::write(Path::new(&made.active[1].point).join("high"), "").unwrap();
    let target = env.dir.path().join("t");
    fs::create_dir(&target).unwrap();
    mount(&made.system[0], &target).unwrap();
    assert!(target.join("low").exists() && target.join("high").exists());
    unmount_all(&target).unwrap();
    env.mounts.deactivate(&env.ns, "a").unwrap();
    assert_eq!(env.left(), 0);
}

#[test]
fn what_is_refused_or_fails_leaves_nothing() {
    let env = Env::new();
    let refused = |asked: Activate, kind: ErrorKind| {
        let error = env.mounts.activate(&env.ns, asked).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(env.left(), 0, "{error}");
        assert!(env.database.all().unwrap().is_empty());
        error.to_string()
    };
    refused(asked("a", vec![tmpfs()]), ErrorKind::Unimplemented);
    refused(asked("a", vec![]), ErrorKind::Unimplemented);
    refused(asked("", vec![]), ErrorKind::InvalidArgument);
    for kind in ["mkfs/ext4", "mkdir/overlay", "format/mkdir/overlay"] {
        refused(asked("a", vec![Mount { kind: kind.into(), ..tmpfs() }]), ErrorKind::Unimplemented);
    }
    refused(asked("a", vec![tmpfs(), overlay(&["lowerdir={{ mount 1 }}"])]), ErrorKind::InvalidArgument);
    let missing = Mount { kind: "bind".into(), source: "/nowhere/at/all".into(), ..Mount::default() };
    let words = refused(temporary("a", vec![tmpfs(), missing]), ErrorKind::NotFound);
    assert!(words.contains("/nowhere/at/all"), "{words}");
    let leased = Activate { lease: Some("none".into()), ..temporary("a", vec![tmpfs()]) };
    refused(leased, ErrorKind::NotFound);
}

#[test]
fn a_file_is_a_device_and_what_is_on_it() {
    let env = Env::new();
    let disk = env.dir.path().join("disk");
    fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(&disk).status().unwrap();
    assert!(made.success());
    let source = disk.to_str().unwrap().to_owned();
    let device = Mount { kind: "loop".into(), source: source.clone(), ..Mount::default() };
    let on_it = Mount { kind: "format/ext4".into(), source: "{{ mount 0 }}".into(), ..Mount::default() };
    let made = env.mounts.activate(&env.ns, temporary("a", vec![device, on_it])).unwrap();
    assert!(Path::new(&made.active[1].point).join("lost+found").exists());
    let device = fs::read_link(&made.active[0].point).unwrap();
    env.mounts.deactivate(&env.ns, "a").unwrap();
    assert!(!wharf_sys::loops::is_attached(&device, &made.active[0].point).unwrap());

    let option = Mount { kind: "ext4".into(), source, options: vec!["loop".into()], ..Mount::default() };
    let made = env.mounts.activate(&env.ns, temporary("b", vec![option])).unwrap();
    assert!(Path::new(&made.active[0].point).join("lost+found").exists());
    env.mounts.deactivate(&env.ns, "b").unwrap();
    assert_eq!(env.left(), 0);
}

#[test]
fn what_is_mounted_is_taken_up_again_and_what_is_not_is_forgotten() {
    let mut env = Env::new();
    let kept = env.mounts.activate(&env.ns, temporary("kept", vec![tmpfs(), tmpfs()])).unwrap();
    let gone = env.mounts.activate(&env.ns, temporary("gone", vec![tmpfs(), tmpfs()])).unwrap();
    unmount_all(&gone.active[0].point).unwrap();
    let orphan = env.dir.path().join("m/999999/0");
    fs::create_dir_all(&orphan).unwrap();
    mount(&tmpfs(), &orphan).unwrap();
    env.again();
    assert_eq!(env.mounts.list(&env.ns, &Filters::all()).unwrap(), [kept]);
    assert_eq!(env.left(), 1);
    env.mounts.deactivate(&env.ns, "kept").unwrap();
    assert_eq!(env.left(), 0);
}

#[test]
fn what_is_collected_is_unmounted() {
    let env = Env::new();
    Leases::create(&env.database, &env.ns, "l", &Labels::new()).unwrap();
    let leased = Activate { lease: Some("l".into()), ..temporary("leased", vec![tmpfs()]) };
    env.mounts.activate(&env.ns, leased).unwrap();
    env.mounts.activate(&env.ns, temporary("loose", vec![tmpfs()])).unwrap();
    env.database.collect().unwrap();
    env.mounts.sweep().unwrap();
    assert_eq!((env.left(), env.mounts.list(&env.ns, &Filters::all()).unwrap().len()), (1, 1));
    Leases::delete(&env.database, &env.ns, "l").unwrap();
    env.database.collect().unwrap();
    env.mounts.sweep().unwrap();
    assert_eq!(env.left(), 0);
}

#[test]
fn one_of_many_gets_the_name() {
    let env = Env::new();
    let made = std::thread::scope(|scope| {
        let each = || scope.spawn(|| env.mounts.activate(&env.ns, temporary("a", vec![tmpfs()])).is_ok());
        let all: Vec<_> = (0..4).map(|_| each()).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|made| *made).count()
    });
    assert_eq!((made, env.left()), (1, 1));
    env.mounts.deactivate(&env.ns, "a").unwrap();
}
