//! Upper directories, mounted overlays, and parents that come later.

use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};
use wharf_sys::mount::TempMount;
use wharf_types::{ErrorKind, Kind as _, Mount};

use crate::testing::{Layer, Raw, look, upper};
use crate::{Applier, Error, LayerApplier};

fn overlay(lower: &[&Path], upper: Option<(&Path, &Path)>) -> Mount {
    let lower = lower.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":");
    let mut options = vec![format!("lowerdir={lower}")];
    if let Some((upper, work)) = upper {
        options.extend([format!("upperdir={}", upper.display()), format!("workdir={}", work.display())]);
    }
    Mount { kind: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }
}

/// What is below in these tests.
fn below() -> Layer {
    Layer::default()
        .dir("./", 0o751)
        .raw(&Raw { mode: 0o1770, owner: (3, 4), ..Raw::new("etc/", b'5') }, b"")
        .file("etc/a", "a")
        .file("etc/b", "b")
        .pax(&[("SCHILY.xattr.user.k", "v"), ("mtime", "5.25")])
        .dir("etc/sub", 0o700)
        .file("etc/sub/old", "")
        .dir("usr", 0o755)
        .dir("usr/lib", 0o711)
        .file("usr/lib/old", "old")
        .dir("var", 0o755)
        .file("var/old", "")
        .symlink("lib", "usr/lib")
        .file("plain", "")
}

/// A layer that needs nothing but what is told later.
fn above() -> Layer {
    Layer::default()
        .file("etc/.wh.a", "")
        .file("etc/new", "new")
        .file("etc/sub/new", "new")
        .file("usr/.wh..wh..opq", "")
        .file("usr/bin/tool", "")
        .hard("usr/bin/twin", "usr/bin/tool")
        .file(".wh.var", "")
        .dir("var", 0o700)
        .file("var/new", "")
        .file(".wh.plain", "")
        .file("plain/now/a", "directory")
        .file("gone/.wh.nothing", "")
        .file("etc/new/.wh.under", "")
}

struct Layers {
    all: TempDir,
}

impl Layers {
    fn new() -> Self {
        let all = tempdir().unwrap();
        for name in ["below", "above", "upper", "work"] {
            std::fs::create_dir(all.path().join(name)).unwrap();
        }
        below().extract(&all.path().join("below")).unwrap();
        Self { all }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.all.path().join(name)
    }

    /// What `layer` makes over the layer below, extracted onto the mounted parent.
    fn mounted(&self, layer: &Layer) -> crate::Result<crate::Applied> {
        layer.apply(&[overlay(&[&self.at("below")], Some((&self.at("upper"), &self.at("work"))))])
    }

    /// The same, extracted by itself and joined afterwards.
    fn later(&self, layer: &Layer) -> crate::Result<()> {
        let applied = layer.extract_upper(&self.at("above"))?;
        LayerApplier::new().adopt(&[upper(&self.at("above"))], &applied.implied, &[self.at("below")])
    }

    fn seen(&self, top: &str) -> std::collections::BTreeMap<String, String> {
        let (top, below) = (self.at(top), self.at("below"));
        let mount = TempMount::new(&[overlay(&[&top, &below], None)]).unwrap();
        look(mount.path())
    }
}

#[test]
fn a_layer_by_itself_and_one_on_its_mounted_parent_show_the_same() {
    let layers = Layers::new();
    layers.mounted(&above()).unwrap();
    layers.later(&above()).unwrap();
    let (mounted, later) = (layers.seen("upper"), layers.seen("above"));
    let paths = later.keys().cloned().collect::<Vec<_>>().join(" ");
    let wanted = " etc etc/b etc/new etc/sub etc/sub/new etc/sub/old gone lib plain plain/now plain/now/a usr usr/bin \
                  usr/bin/tool usr/bin/twin var var/new";
    assert_eq!(paths, wanted);
    // What had nothing below it to take after has the time it was made.
    let made = ["gone", "plain", "plain/now", "usr/bin"];
    // The upper directory's own root is whoever prepared it to furnish.
    for (path, line) in mounted.iter().filter(|(path, _)| !path.is_empty()) {
        if made.contains(&path.as_str()) {
            assert_eq!(line.split(' ').next(), later[path].split(' ').next(), "{path}");
        } else {
            assert_eq!(*line, later[path], "{path}");
        }
    }
    assert_eq!(later["etc"], "41770 3:4 1000000000.000000000");
    assert_eq!(later["etc/sub"], "40700 0:0 5.250000000 user.k=v");
    assert_eq!(later[""], "40751 0:0 1000000000.000000000");
}

#[test]
fn what_only_the_parents_can_tell_is_asked_for_and_right_with_them() {
    let cases = [
        ("hard link below", Layer::default().hard("etc/c", "etc/b"), "etc/c"),
        ("link below", Layer::default().file("lib/new", "x"), "usr/lib/new"),
        ("whiteout through a link below", Layer::default().file("lib/.wh.old", ""), "usr/lib"),
        ("listed late", Layer::default().file("lib/new", "x").dir("lib", 0o755), "usr/lib/new"),
        ("replaced", Layer::default().file("lib/new", "x").file("lib", ""), "usr/lib/new"),
        ("opaque root", Layer::default().file(".wh..wh..opq", "").file("only", ""), "only"),
    ];
    for (name, layer, wanted) in cases {
        let layers = Layers::new();
        let error = layers.later(&layer).expect_err(name);
        assert!(matches!(error, Error::NeedsParents { .. }), "{name}: {error}");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        layers.mounted(&layer).unwrap();
        let seen = layers.seen("upper");
        assert!(seen.contains_key(wanted), "{name}: {seen:?}");
        assert!(!seen.contains_key("usr/lib/old") || !name.contains("whiteout"), "{name}");
        assert!(seen.len() == 2 || name != "opaque root", "{seen:?}");
    }
}

#[test]
fn a_file_below_in_the_way_is_an_error_in_the_end() {
    let layer = Layer::default().file("plain/x", "");
    assert!(matches!(Layers::new().later(&layer), Err(Error::NeedsParents { .. })));
    assert!(matches!(Layers::new().mounted(&layer), Err(Error::Entry { .. })));
}

#[test]
fn the_layer_between_decides_what_a_directory_takes_after() {
    let layers = Layers::new();
    for name in ["middle", "hiding"] {
        std::fs::create_dir(layers.at(name)).unwrap();
    }
    let hiding = Layer::default().file(".wh.etc", "").dir("usr", 0o700).file("usr/.wh..wh..opq", "");
    hiding.extract_upper(&layers.at("hiding")).unwrap();
    let top = Layer::default().file("etc/x", "").file("usr/lib/x", "").file("var/x", "");
    let applied = top.extract_upper(&layers.at("above")).unwrap();
    let parents = ["middle", "hiding", "below"].map(|name| layers.at(name));
    LayerApplier::new().adopt(&[upper(&layers.at("above"))], &applied.implied, &parents).unwrap();
    let seen = look(&layers.at("above"));
    let mode = |path: &str| seen[path].split(' ').next().unwrap().to_owned();
    assert_eq!(["etc", "usr", "usr/lib", "var"].map(mode), ["40755", "40700", "40755", "40755"]);
    assert!(seen["var"].contains("1000000000"));
}

#[test]
fn whiteouts_take_overlayfs_form_with_either_attribute() {
    for (option, name) in [("", "trusted.overlay.opaque"), ("userxattr", "user.overlay.opaque")] {
        let dir = tempdir().unwrap();
        let mut mount = upper(dir.path());
        mount.options.extend((!option.is_empty()).then(|| option.to_owned()));
        above().apply(&[mount]).unwrap();
        let seen = look(dir.path());
        assert!(seen["etc/a"].starts_with("20000 "), "{}", seen["etc/a"]);
        assert!(["usr", "var", "plain"].iter().all(|path| seen[*path].ends_with(&format!(" {name}=y"))), "{seen:?}");
        assert!(!seen["etc"].contains("opaque"));
    }
}

#[test]
fn mounts_that_cannot_be_extracted_into_are_refused() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "").unwrap();
    let mut read_only = crate::testing::bind(dir.path());
    read_only.options = vec!["rbind".into(), "ro".into()];
    for mounts in [vec![], vec![read_only], vec![upper(dir.path())], vec![overlay(&[dir.path()], None)]] {
        assert!(above().apply(&mounts).is_err(), "{mounts:?}");
    }
}
