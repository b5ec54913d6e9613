//! What no layer can hold, what must not be reached, and what changes under the eyes.

use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wharf_types::{ErrorKind, Kind as _};

use super::*;
use crate::Error;

/// An empty tree and one that `make` filled.
fn attempt(make: impl Fn(&Path)) -> Result<Vec<u8>> {
    let tree = tempfile::tempdir().unwrap();
    make(tree.path());
    compare(&[], &[bind(tree.path())])
}

#[test]
fn names_that_would_be_whiteouts_are_refused() {
    type Make = fn(&Path);
    let cases: [(&str, Make); 4] = [
        (".wh.etc", |root| std::fs::write(root.join(".wh.etc"), "").unwrap()),
        ("d/.wh..wh..opq", |root| std::fs::create_dir_all(root.join("d/.wh..wh..opq")).unwrap()),
        ("file", |root| {
            std::fs::write(root.join("file"), "").unwrap();
            attribute(&root.join("file"), "user.a=b", b"");
        }),
        ("d/d", |root| std::fs::create_dir_all(root.join("d/".repeat(300))).unwrap()),
    ];
    for (name, make) in cases {
        let error = attempt(make).unwrap_err();
        assert!(matches!(&error, Error::Entry { path, .. } if path.starts_with(name)), "{error}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    // Deleting one would say that all of its directory is gone.
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join(".wh..opq"), "").unwrap();
    let empty = tempfile::tempdir().unwrap();
    assert!(compare(&[bind(tree.path())], &[bind(empty.path())]).is_err());
}

#[test]
fn sockets_are_left_out_and_what_they_hide_is_deleted() {
    let trees = Trees::new();
    let after = trees.twin("after");
    let _new = UnixListener::bind(after.join("etc/socket")).unwrap();
    std::fs::remove_file(after.join("solo")).unwrap();
    let _instead = UnixListener::bind(after.join("solo")).unwrap();
    let layer = compare(&[bind(&trees.at("before"))], &[bind(&after)]).unwrap();
    assert_eq!(entries(&layer), [".wh.solo"]);
    assert_eq!(compare(&[bind(&after)], &[bind(&after)]).unwrap(), [0; 1024]);
}

#[test]
fn what_is_mounted_within_a_tree_is_not_in_the_layer() {
    let trees = Trees::new();
    let after = trees.twin("after");
    let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() };
    wharf_sys::mount::mount(&tmpfs, after.join("etc/conf.d")).unwrap();
    std::fs::write(after.join("etc/conf.d/foreign"), "").unwrap();
    let layer = compare(&[bind(&trees.at("before"))], &[bind(&after)]);
    wharf_sys::mount::unmount_all(after.join("etc/conf.d")).unwrap();
    assert_eq!(layer.unwrap(), [0; 1024]);
}

#[test]
fn mounts_and_media_types_that_are_none_are_refused() {
    let tree = tempfile::tempdir().unwrap();
    let some = [bind(tree.path())];
    assert_eq!(compare(&some, &[]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(compare(&[bind(Path::new("/nowhere/at/all"))], &some).unwrap_err().kind(), ErrorKind::InvalidArgument);
    for media_type in ["text/html", "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"] {
        let wanted = Comparison { media_type: media_type.into(), ..Comparison::default() };
        assert_eq!(compare_as(&some, &some, &wanted).unwrap_err().kind(), ErrorKind::Unimplemented);
    }
}

#[test]
fn a_writer_that_fails_is_told_of() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tree = Trees::new();
    for media_type in ["", TAR, "application/vnd.oci.image.layer.v1.tar+zstd"] {
        let wanted = Comparison { media_type: media_type.into(), ..Comparison::default() };
        let error = LayerComparer::new().compare(&[], &[bind(&tree.at("before"))], &wanted, &mut Full).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{media_type}: {error}");
    }
}

#[test]
fn links_are_not_followed_however_the_tree_changes() {
    let trees = Trees::new();
    let (secret, tree) = (trees.empty("secret"), trees.empty("tree"));
    std::fs::write(secret.join("file"), "what is not in the tree").unwrap();
    std::fs::create_dir(tree.join("dir")).unwrap();
    std::fs::write(tree.join("dir/file"), "what is in the tree").unwrap();
    symlink(&secret, tree.join("link")).unwrap();
    symlink(secret.join("file"), tree.join("dir/link")).unwrap();
    let stop = AtomicBool::new(false);
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |a: &str, b: &str| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, tree.join(a), CWD, tree.join(b), flags)
            };
            while !stop.load(Ordering::Relaxed) {
                // What goes wrong here shows by too few results of either kind.
                let _ = exchange("dir", "link");
                let _ = exchange("link/file", "link/link");
                let _ = exchange("dir", "link");
            }
        });
        let start = Instant::now();
        let both =
            |results: &[Result<Vec<u8>>]| results.iter().any(Result::is_ok) && results.iter().any(Result::is_err);
        while start.elapsed() < Duration::from_millis(500) || start.elapsed().as_secs() < 10 && !both(&results) {
            results.push(compare(&[], &[bind(&tree)]));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let secret = b"what is not in the tree";
    let mut whole = 0;
    for result in &results {
        match result {
            Ok(layer) => {
                whole += 1;
                assert!(!layer.windows(secret.len()).any(|bytes| bytes == secret));
                entries(layer);
            }
            Err(error) => assert!(matches!(error, Error::Changed { .. }), "{error}"),
        }
    }
    assert!(whole > 0 && whole < results.len(), "{whole} of {} saw the tree at rest", results.len());
}
