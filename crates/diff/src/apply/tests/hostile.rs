//! Damage, waste, and a tree that changes under the hands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tempfile::TempDir;

use wharf_types::Mount;

use crate::testing::{Layer, Raw, TAR, bind, look};
use crate::{Applier, LayerApplier};

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

/// Nanoseconds that this thread has run for: other programs' work does not count.
fn busy() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse().unwrap()
}

/// Notes when its bytes begin to be read.
struct Stamp<'a>(&'a [u8], Option<u64>);

impl std::io::Read for Stamp<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.get_or_insert_with(busy);
        self.0.read(buffer)
    }
}

/// 100,000 files, half of them below, in the way of every marker, and half of them the layer's own. The layer is extracted
/// once: what follows the first marker may take no longer than what goes before.
#[test]
fn ten_thousand_opaque_markers_take_no_more_than_twice_the_time_of_one() {
    let tree = tempdir().unwrap();
    let below = (0..50_000).fold(Layer::default(), |layer, i| layer.file(&format!("d/{}/{i}", i % 50), ""));
    below.extract(tree.path()).unwrap();
    let one = (0..50_000).fold(Layer::default(), |layer, i| layer.file(&format!("d/{}/new{i}", i % 50), ""));
    let one = one.file("d/.wh..wh..opq", "");
    let more = (1..10_000).fold(Layer::default(), |layer, i| {
        let dir = if i % 2 == 0 { "d".to_owned() } else { format!("d/{}", i % 50) };
        layer.file(&format!("{dir}/.wh..wh..opq"), "")
    });
    let mut stamp = Stamp(&more.0, None);
    let start = busy();
    let mut layer = std::io::Read::chain(one.0.as_slice(), &mut stamp);
    LayerApplier::new().apply(&mut layer, TAR, &[bind(tree.path())]).unwrap();
    let all = busy() - start;
    let first = stamp.1.unwrap() - start;
    assert!(all < first * 2, "one marker: {first} ns, 10,000: {all} ns");
    let left = |dir: &str| std::fs::read_dir(tree.path().join(dir)).unwrap().count();
    assert_eq!((left("d"), left("d/0"), left("d/49")), (50, 1_000, 1_000));
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

#[test]
fn what_is_mounted_within_a_tree_is_not_touched() {
    let all = tempdir().unwrap();
    let tree = all.path().join("tree");
    std::fs::create_dir_all(tree.join("dev")).unwrap();
    let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), ..Mount::default() };
    wharf_sys::mount::mount(&tmpfs, tree.join("dev")).unwrap();
    std::fs::write(tree.join("dev/null"), "untouched").unwrap();
    let before = look(&tree);
    let layers = [
        Layer::default().file(".wh.dev", ""),
        Layer::default().file("dev/.wh.null", ""),
        Layer::default().file("dev/.wh..wh..opq", ""),
        Layer::default().file(".wh..wh..opq", ""),
        Layer::default().file("dev/null", ""),
        Layer::default().file("dev", ""),
        Layer::default().dir("dev", 0o700),
        Layer::default().symlink("l", "dev").file("l/null", ""),
    ];
    let results = layers.map(|layer| layer.extract(&tree).map_err(|e| e.to_string()));
    let mut after = look(&tree);
    wharf_sys::mount::unmount_all(tree.join("dev")).unwrap();
    after.remove("l");
    after.insert(String::new(), before[""].clone());
    assert_eq!(after, before);
    for result in results {
        assert!(result.as_ref().is_err_and(|e| e.contains("mounted within the tree")), "{result:?}");
    }
}
