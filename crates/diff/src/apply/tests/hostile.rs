//! Damage, waste, and a tree that changes under the hands.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use crate::testing::{Layer, Raw, look};

/// In memory where there is a place: a disk's filesystem is slow to give an inode out again that was just freed.
fn tempdir() -> std::io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// Small and always the same (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

fn everything(out: &str) -> Layer {
    Layer::default()
        .dir("./", 0o755)
        .dir("d", 0o755)
        .file("d/f", "contents")
        .symlink("d/l", out)
        .file("d/l/x", "through")
        .hard("h", "d/f")
        .pax(&[("path", "d/long"), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "b")])
        .file("x", "y")
        .pax(&[
            ("GNU.sparse.major", "0"),
            ("GNU.sparse.minor", "1"),
            ("GNU.sparse.size", "9000"),
            ("GNU.sparse.numblocks", "1"),
            ("GNU.sparse.map", "8192,3"),
        ])
        .file("s", "abc")
        .raw(&Raw { size: 7, ..Raw::new("././@LongLink", b'L') }, b"longish")
        .file("l", "")
        .file("d/.wh.f", "")
        .file("d/.wh..wh..opq", "")
        .raw(&Raw { device: (1, 3), ..Raw::new("null", b'3') }, b"")
}

#[test]
fn damaged_archives_neither_panic_nor_reach_out() {
    let all = tempdir().unwrap();
    let canary = all.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("f"), "untouched").unwrap();
    let before = look(&canary);
    let whole = everything(&canary.display().to_string()).end();
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut taken, rounds) = (0, 2_000);
    for round in 0..rounds {
        let mut bytes = whole.clone();
        for _ in 0..=random.next(3) {
            let at = random.next(bytes.len());
            bytes[at] = b"\0\x80\xff/.0715LSxg= \n"[random.next(16)];
        }
        // Half of them are no use if their checksums tell.
        if round % 2 == 0 {
            for block in bytes.as_chunks_mut::<512>().0 {
                if &block[257..262] == b"ustar" {
                    crate::testing::seal(block);
                }
            }
        }
        bytes.truncate(bytes.len() - if round % 5 == 0 { random.next(bytes.len()) } else { 0 });
        let tree = all.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        let layer = Layer(bytes);
        let result = if round % 3 == 0 { layer.extract_upper(&tree) } else { layer.extract(&tree) };
        taken += usize::from(result.is_ok());
        std::fs::remove_dir_all(&tree).unwrap();
    }
    assert_eq!(look(&canary), before);
    assert_eq!(std::fs::read_dir(all.path()).unwrap().count(), 1);
    assert!((1..rounds).contains(&taken), "{taken} of {rounds} were taken");
}

#[test]
fn many_opaque_markers_cost_no_more_than_one() {
    let below = |tree: &Path| {
        let mut layer = Layer::default();
        for i in 0..5_000 {
            layer = layer.file(&format!("d/{i}"), "");
        }
        layer.extract(tree).unwrap();
    };
    let time = |markers: usize| {
        let tree = tempdir().unwrap();
        below(tree.path());
        let mut layer = Layer::default();
        for i in 0..2_000 {
            layer = layer.file(&format!("d/sub/new{i}"), "");
        }
        for i in 0..markers {
            layer = layer.file(if i % 2 == 0 { "d/sub/.wh..wh..opq" } else { "d/.wh..wh..opq" }, "");
        }
        let start = Instant::now();
        layer.extract(tree.path()).unwrap();
        let took = start.elapsed();
        assert_eq!(look(tree.path()).len(), 2_003);
        took
    };
    let (few, many) = (time(2), time(1_000));
    // Quadratic work would be hundreds of times as long.
    assert!(many < few * 5, "2 markers: {few:?}, 1,000: {many:?}");
}

#[test]
fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    let all = tempdir().unwrap();
    let (canary, tree) = (all.path().join("canary"), all.path().join("tree"));
    for dir in [&canary, &tree, &tree.join("d"), &all.path().join("aside")] {
        std::fs::create_dir(dir).unwrap();
    }
    let before = look(&canary);
    std::os::unix::fs::symlink(&canary, tree.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                // The layer may have put something else there.
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    tree.join("d"),
                    rustix::fs::CWD,
                    tree.join("link"),
                    exchange,
                );
            }
        });
        let start = Instant::now();
        let mut round = 0;
        while start.elapsed().as_millis() < 1_000 {
            round += 1;
            let mut layer = Layer::default();
            for i in 0..20 {
                layer =
                    layer.file(&format!("d/f{round}.{i}"), "").dir(&format!("d/s{i}"), 0o777).file("d/.wh.f1.0", "");
            }
            // Refused or not: only where it goes counts.
            let _ = layer.extract(&tree);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(look(&canary), before);
}
