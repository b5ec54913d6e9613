//! Everything that a layer may hold.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use wharf_types::{Digest, Kind as _};

use crate::testing::{Layer, Raw, TAR, bind, look, xattrs};
use crate::{Applier, Error, LayerApplier};

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode()
}

#[test]
fn files_of_all_kinds_come_out_as_the_layer_says() {
    let dir = tempdir().unwrap();
    let layer = Layer::default()
        .dir("./", 0o751)
        .raw(&Raw { mode: 0o2775, owner: (7, 8), ..Raw::new("d/", b'5') }, b"")
        .raw(&Raw { mode: 0o6755, owner: (1, 2), size: 3, ..Raw::new("d/suid", b'0') }, b"abc")
        .symlink("d/link", "../nowhere")
        .hard("d/hard", "d/suid")
        .hard("d/hardlink", "/d/link")
        .raw(&Raw { mode: 0o622, device: (1, 3), ..Raw::new("null", b'3') }, b"")
        .raw(&Raw { mode: 0o660, device: (7, 1), ..Raw::new("loop", b'4') }, b"")
        .raw(&Raw { mode: 0o666, ..Raw::new("pipe", b'6') }, b"");
    let applied = layer.extract(dir.path()).unwrap();
    assert_eq!((applied.diff_id, applied.size), (Digest::of(&layer.0), layer.0.len() as u64));
    let tree = look(dir.path());
    let known = "1000000000.000000000";
    let abc = Digest::of(b"abc");
    let wanted = [
        ("", format!("40751 0:0 {known}")),
        ("d", format!("42775 7:8 {known}")),
        ("d/hard", format!("106755 1:2 {known} {abc} = d/hard")),
        ("d/hardlink", format!("120777 0:0 {known} -> ../nowhere = d/hardlink")),
        ("d/link", format!("120777 0:0 {known} -> ../nowhere = d/hardlink")),
        ("d/suid", format!("106755 1:2 {known} {abc} = d/hard")),
        ("loop", format!("60660 0:0 {known} 701")),
        ("null", format!("20622 0:0 {known} 103")),
        ("pipe", format!("10666 0:0 {known}")),
    ];
    assert_eq!(tree, wanted.into_iter().map(|(path, line)| (path.to_owned(), line)).collect());
}

#[test]
fn extended_headers_count() {
    let dir = tempdir().unwrap();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let capability = "\u{1}\0\0\u{2}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    Layer::default()
        .pax(&[
            ("path", &long),
            ("mtime", "1234567890.123456789"),
            ("uid", "3000000"),
            ("size", "2"),
            ("SCHILY.xattr.user.a", "b"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ("SCHILY.xattr.user.overlay.opaque", "y"),
        ])
        .raw(&Raw { size: 1, ..Raw::new("short", b'0') }, b"hi")
        .extract(dir.path())
        .unwrap();
    let path = dir.path().join(long);
    let meta = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (read(&path).as_str(), meta.mtime(), meta.mtime_nsec(), meta.uid()),
        ("hi", 1_234_567_890, 123_456_789, 3_000_000)
    );
    let wanted = [("security.capability".to_owned(), capability.to_owned()), ("user.a".to_owned(), "b".to_owned())];
    assert_eq!(xattrs(&path), wanted.into_iter().collect());
}

#[test]
fn the_last_of_several_entries_counts() {
    let dir = tempdir().unwrap();
    Layer::default()
        .file("a", "first")
        .hard("b", "a")
        .file("a", "second")
        .dir("c", 0o755)
        .file("c/x", "")
        .file("c", "now a file")
        .file("d", "")
        .dir("d", 0o700)
        .file("d/x", "in")
        .symlink("e", "d")
        .file("e/y", "through")
        .dir("e", 0o755)
        .file("e/z", "not through")
        .extract(dir.path())
        .unwrap();
    let at = |path: &str| read(dir.path().join(path));
    assert_eq!([at("a"), at("b"), at("c"), at("d/x")], ["second", "first", "now a file", "in"]);
    assert_eq!([at("d/y"), at("e/z")], ["through", "not through"]);
    assert!(!dir.path().join("d/z").exists());
}

#[test]
fn whiteouts_hide_what_was_there_and_nothing_of_their_own_layer() {
    let dir = tempdir().unwrap();
    let below = Layer::default().dir("a", 0o700).file("a/old", "").file("b", "").dir("c", 0o755).file("c/old", "");
    let below = below.dir("c/deep", 0o755).file("c/deep/old", "").dir("e", 0o755).file("e/old", "").symlink("l", "a");
    below.file("a/behind", "").extract(dir.path()).unwrap();
    Layer::default()
        .file("a/.wh.old", "")
        .file(".wh.b", "")
        .file("b", "again")
        .file("c/deep/new", "")
        .file("c/new", "")
        .file("c/.wh..wh..opq", "")
        .file(".wh.missing", "")
        .file(".wh.e", "")
        .dir("e", 0o711)
        .file("e/new", "")
        .file("l/.wh.behind", "")
        .file("b/.wh.under", "")
        .file("b/.wh..wh..opq", "")
        .file(".wh..wh.plnk/1.2", "")
        .file(".wh..wh.aufs", "")
        .extract(dir.path())
        .unwrap();
    let paths = look(dir.path()).into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(paths, " a b c c/deep c/deep/new c/new e e/new l");
    assert_eq!(read(dir.path().join("b")), "again");
    // The layer says nothing of this directory, so its mode and time are those it had.
    let meta = std::fs::metadata(dir.path().join("a")).unwrap();
    assert_eq!((meta.mode(), meta.mtime()), (0o40700, 1_000_000_000));
    assert_eq!(mode(dir.path().join("e")), 0o40711);
}

#[test]
fn layers_compressed_in_several_ways_have_one_diff_id() {
    let plain = Layer::default().file("a", "abc").end();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let oci = |suffix: &str| format!("{TAR}{suffix}");
    let docker = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".to_owned();
    let gzip = gzip.finish().unwrap();
    for (bytes, media_type) in [
        (plain.clone(), oci("")),
        (gzip.clone(), oci("+gzip")),
        (gzip, docker),
        (zstd.clone(), oci("+zstd")),
        (zstd, oci("+gzip")),
        (plain.clone(), oci("+gzip")),
    ] {
        let dir = tempdir().unwrap();
        let mut input = bytes.as_slice();
        let applied = LayerApplier::new().apply(&mut input, &media_type, &[bind(dir.path())]).unwrap();
        assert_eq!((applied.diff_id, applied.size), (Digest::of(&plain), plain.len() as u64), "{media_type}");
        assert!(input.is_empty(), "{media_type} was not read to its end");
        assert_eq!(read(dir.path().join("a")), "abc");
    }
}

#[test]
fn bytes_after_the_end_belong_to_the_diff_id_and_blocks_at_the_end_may_lack() {
    let dir = tempdir().unwrap();
    let mut bytes = Layer::default().file("a", "abc").end();
    bytes.extend([7; 100_000]);
    let layer = Layer(bytes);
    assert_eq!(layer.extract(dir.path()).unwrap().diff_id, Digest::of(&layer.0));
    let cut = Layer(Layer::default().file("b", "abc").0[..515].to_vec());
    cut.extract(dir.path()).unwrap();
    assert_eq!(read(dir.path().join("b")), "abc");
    Layer::default().extract(dir.path()).unwrap();
}

#[test]
fn bounds_are_kept() {
    let dir = tempdir().unwrap();
    let layer = Layer::default().file("a", &"0".repeat(100_000)).file("b", "");
    let zstd = zstd::encode_all(layer.0.as_slice(), 3).unwrap();
    for (bytes, entries) in [(50_000, 10), (1_000_000, 1)] {
        let applier = LayerApplier::with_limits(bytes, entries);
        let error = applier.apply(&mut zstd.as_slice(), TAR, &[bind(dir.path())]).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{error}");
        assert_eq!(error.kind(), wharf_types::ErrorKind::ResourceExhausted);
    }
    LayerApplier::with_limits(1_000_000, 2).apply(&mut zstd.as_slice(), TAR, &[bind(dir.path())]).unwrap();
}

/// GNU tar writes, we read.
#[test]
fn trees_that_gnu_tar_packs_come_out_the_same() {
    let from = tempdir().unwrap();
    let root = from.path();
    let long = "n".repeat(240);
    std::fs::create_dir_all(root.join("dir").join(&long)).unwrap();
    std::fs::write(root.join("dir").join(&long).join(&long), "deep").unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    for i in 0..30u64 {
        rustix::io::pwrite(&sparse, b"data", i * 1_000_000 + 4096).unwrap();
    }
    sparse.set_len(40_000_000).unwrap();
    std::os::unix::fs::symlink(&long, root.join("link")).unwrap();
    std::fs::hard_link(root.join("sparse"), root.join("twin")).unwrap();
    std::os::unix::fs::chown(root.join("dir"), Some(4_000_000), Some(5)).unwrap();
    let wanted = look(root);
    for flags in [
        &["--format=gnu"][..],
        &["--format=pax"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ] {
        let packed = Command::new("tar").args(flags).arg("-cC").arg(root).arg(".").output().unwrap();
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        let to = tempdir().unwrap();
        Layer(packed.stdout).extract(to.path()).unwrap();
        let mut tree = look(to.path());
        if flags[0] == "--format=gnu" {
            // That form has whole seconds.
            let cut =
                |line: &String| line.split(' ').map(|w| w.split('.').next().unwrap()).collect::<Vec<_>>().join(" ");
            assert_eq!(tree.values().map(cut).collect::<Vec<_>>(), wanted.values().map(cut).collect::<Vec<_>>());
            assert_eq!(tree.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        } else {
            assert_eq!(std::mem::take(&mut tree), wanted, "{flags:?}");
        }
        let blocks = std::fs::metadata(to.path().join("sparse")).unwrap().blocks();
        assert!(!flags.contains(&"--sparse") || blocks < 2_000, "{flags:?}: {blocks} blocks");
    }
}
