use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use wharf_types::{ErrorKind, Kind as _};

use super::*;

fn bundle() -> (tempfile::TempDir, Bundle) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path().join("state"), dir.path().join("root"), "", "", Vec::new());
    let bundle = Bundle::new(&config, &"default".parse().unwrap(), &"web".parse().unwrap());
    (dir, bundle)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn is_made_as_containerd_does_and_leaves_nothing() {
    let (_dir, bundle) = bundle();
    bundle.make(b"{}", Path::new("/bin/shim")).unwrap();
    assert_eq!(fs::read(bundle.path.join("config.json")).unwrap(), b"{}");
    assert_eq!(mode(&bundle.path), 0o700);
    assert_eq!(mode(bundle.path.parent().unwrap()), 0o711);
    assert!(fs::metadata(bundle.path.join("work")).unwrap().is_dir());
    assert!(fs::metadata(bundle.path.join("log")).unwrap().file_type().is_fifo());
    assert_eq!(crate::program::recorded(&bundle.path), Some("/bin/shim".into()));
    assert_eq!(bundle.make(b"{}", Path::new("/bin/shim")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    bundle.remove().unwrap();
    bundle.remove().unwrap();
    for place in [bundle.path.parent().unwrap(), bundle.work.parent().unwrap()] {
        assert!(names(place).is_empty(), "{:?}", names(place));
    }
}

#[test]
fn a_draft_of_a_daemon_that_was_killed_is_no_obstacle() {
    let (_dir, bundle) = bundle();
    fs::create_dir_all(bundle.aside("new").join("rootfs/left")).unwrap();
    fs::create_dir_all(bundle.work.join("left")).unwrap();
    bundle.make(b"{}", Path::new("/bin/shim")).unwrap();
    assert!(names(&bundle.work).is_empty());
    assert_eq!(names(bundle.path.parent().unwrap()), ["web"]);
}

#[test]
fn a_mapped_root_may_pass_and_nobody_else() {
    let (_dir, bundle) = bundle();
    let spec = br#"{"linux":{"gidMappings":[{"containerID":0,"hostID":100000,"size":1}]}}"#;
    bundle.make(spec, Path::new("/bin/shim")).unwrap();
    assert_eq!((mode(&bundle.path), fs::metadata(&bundle.path).unwrap().gid()), (0o710, 100_000));
}

#[test]
fn what_is_mounted_below_is_unmounted_first() {
    let (_dir, bundle) = bundle();
    bundle.make(b"{}", Path::new("/bin/shim")).unwrap();
    let mount = wharf_types::Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Default::default() };
    wharf_sys::mount::mount(&mount, bundle.path.join("rootfs")).unwrap();
    bundle.remove().unwrap();
    assert!(!bundle.path.exists());
}

#[test]
fn an_old_shims_own_address_is_found() {
    let (_dir, bundle) = bundle();
    bundle.make(b"{}", Path::new("/bin/shim")).unwrap();
    assert_eq!(bundle.endpoint(), None);
    fs::write(bundle.path.join("address"), "unix:///run/s").unwrap();
    assert_eq!(bundle.endpoint().unwrap().version, 2);
    let endpoint = Endpoint { version: 3, address: "unix:///run/t".into(), protocol: "ttrpc".into() };
    bundle.keep_endpoint(&endpoint).unwrap();
    assert_eq!(bundle.endpoint(), Some(endpoint));
    fs::write(bundle.path.join(ENDPOINT), "{torn").unwrap();
    assert_eq!(bundle.endpoint(), None);
}
