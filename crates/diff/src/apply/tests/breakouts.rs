//! Layers that try to reach what is beside their tree. Whatever becomes of them, the canary is not touched.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use crate::testing::{Layer, Raw, look};
use crate::{Applied, Result};

/// A tree beside the one that is extracted into.
struct Canary {
    all: TempDir,
    before: BTreeMap<String, String>,
}

impl Canary {
    fn new() -> Self {
        let all = tempdir().unwrap();
        let at = |path: &str| all.path().join(path);
        std::fs::create_dir_all(at("canary/dir")).unwrap();
        std::fs::write(at("canary/dir/file"), "untouched").unwrap();
        std::fs::write(at("canary/passwd"), "root").unwrap();
        std::fs::set_permissions(at("canary/passwd"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = look(&at("canary"));
        Self { all, before }
    }

    /// A fresh tree beside the canary.
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.all.path().join(name);
        std::fs::create_dir(&tree).unwrap();
        tree
    }

    /// The path of the canary, with what an absolute link or name needs.
    fn path(&self) -> String {
        self.all.path().join("canary").display().to_string()
    }

    fn check(&self, name: &str) {
        assert_eq!(look(&self.all.path().join("canary")), self.before, "{name} touched the canary");
        let mut beside: Vec<_> = std::fs::read_dir(self.all.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        beside.retain(|name| !["canary", "fresh", "over", "upper"].iter().any(|known| name == known));
        assert!(beside.is_empty(), "{name} left {beside:?} outside");
    }
}

/// Extracts `layer` in each form; the results are of an empty tree, one with something in it, and an upper directory.
fn attempt(name: &str, canary: &Canary, layer: &Layer) -> [(Result<Applied>, PathBuf); 3] {
    let (fresh, over, upper) = (canary.tree("fresh"), canary.tree("over"), canary.tree("upper"));
    Layer::default().dir("etc", 0o755).file("etc/passwd", "inner").extract(&over).unwrap();
    let results = [layer.extract(&fresh), layer.extract(&over), layer.extract_upper(&upper)];
    canary.check(name);
    let mut results = results.into_iter();
    [fresh, over, upper].map(|tree| (results.next().unwrap(), tree))
}

fn clear(canary: &Canary) {
    for name in ["fresh", "over", "upper"] {
        std::fs::remove_dir_all(canary.all.path().join(name)).unwrap();
    }
}

/// Each with the path at which the file must be found inside, or none where the layer must be refused.
fn cases(out: &str) -> Vec<(&'static str, Layer, Option<&'static str>)> {
    let l = Layer::default;
    let inner = Box::leak(format!("{}/x", out.trim_start_matches('/')).into_boxed_str());
    let inner_passwd = &*Box::leak(format!("{}/passwd", out.trim_start_matches('/')).into_boxed_str());
    let inner_dir = &*Box::leak(format!("{}/dir/x", out.trim_start_matches('/')).into_boxed_str());
    let inner: &'static str = inner;
    let up = format!("../../../../../../../../../../..{out}");
    vec![
        ("dots", l().file("../canary/x", "evil"), None),
        ("dots in the middle", l().dir("a", 0o755).file("a/../../canary/x", "evil"), None),
        ("absolute dots", l().file("/../canary/x", "evil"), None),
        ("dots of a directory", l().dir("../canary/dir", 0o777), None),
        ("dots of a link", l().symlink("../canary/x", "y"), None),
        ("dots of a whiteout", l().file("../canary/.wh.passwd", ""), None),
        ("dots of an opaque marker", l().file("../canary/.wh..wh..opq", ""), None),
        ("whiteout of dots", l().file(".wh...", ""), None),
        ("whiteout of a dot", l().file(".wh..", ""), None),
        ("nothing but dots", l().dir("..", 0o777), None),
        ("absolute name", l().file(&format!("{out}/x"), "evil"), Some(inner)),
        ("absolute link, then through it", l().symlink("e", out).file("e/x", "evil"), Some(inner)),
        ("relative link, then through it", l().symlink("e", &up).file("e/x", "evil"), Some(inner)),
        ("link to a link", l().symlink("a", out).symlink("b", "a").file("b/x", "evil"), Some(inner)),
        ("link in a directory", l().dir("d", 0o755).symlink("d/e", &up).file("d/e/x", "evil"), Some(inner)),
        ("link with dots behind a link", l().symlink("a", &format!("{out}/dir")).file("a/x", ""), Some(inner_dir)),
        ("link to the root, then dots", l().symlink("r", "/").symlink("s", "r/../..").file("s/x", "evil"), Some("x")),
        ("file over a link", l().symlink("e", &format!("{out}/passwd")).file("e", "evil"), Some("e")),
        ("directory over a link", l().symlink("e", &format!("{out}/dir")).dir("e", 0o777).file("e/x", ""), Some("e/x")),
        ("link with a name that ends in a slash", l().symlink("e/", out).file("e//x", "evil"), Some(inner)),
        ("root as a link", l().symlink(".", out).file("x", "evil"), None),
        ("root as an absolute link", l().symlink("/", out).file("x", "evil"), None),
        ("root as a file", l().file("./", "evil"), None),
        ("hard link out", l().hard("h", &format!("{out}/passwd")), None),
        ("hard link out by dots", l().hard("h", "../canary/passwd"), None),
        ("hard link to the host's shadow", l().hard("h", "/etc/shadow"), None),
        ("hard link through a link", l().symlink("e", out).hard("h", "e/passwd"), None),
        ("hard link to a directory", l().dir("d", 0o755).hard("h", "d"), None),
        ("hard link to itself", l().file("h", "x").hard("h", "h"), None),
        ("hard link to a link, then through it", l().symlink("e", out).hard("h", "e").file("h/x", "evil"), Some(inner)),
        (
            "hard link to a link, then a mode",
            l().symlink("e", &format!("{out}/passwd"))
                .raw(&Raw { link: "e", mode: 0o7777, owner: (9, 9), ..Raw::new("h", b'1') }, b""),
            Some("h"),
        ),
        (
            "hard link to a link, then the file",
            l().symlink("e", &format!("{out}/passwd")).hard("h", "e").file("h", "evil"),
            Some("h"),
        ),
        ("whiteout through a link", l().symlink("e", out).file("e/.wh.passwd", ""), None),
        ("opaque through a link", l().symlink("e", out).file("e/.wh..wh..opq", ""), None),
        ("directory through a link", l().symlink("e", out).dir("e/x", 0o777), Some(inner)),
        ("link through a link", l().symlink("e", out).symlink("e/x", "y"), Some(inner)),
        (
            "device through a link",
            l().symlink("e", out).raw(&Raw { device: (1, 3), ..Raw::new("e/x", b'3') }, b""),
            Some(inner),
        ),
        ("pipe through a link", l().symlink("e", out).raw(&Raw::new("e/x", b'6'), b""), Some(inner)),
        ("file over one through a link", l().symlink("e", out).file("e/passwd", "evil"), Some(inner_passwd)),
        ("device by dots", l().raw(&Raw { device: (8, 0), ..Raw::new("../canary/sda", b'4') }, b""), None),
        (
            "device by a link's name",
            l().symlink("n", out).raw(&Raw { device: (8, 0), ..Raw::new("n", b'4') }, b""),
            Some("n"),
        ),
        ("links in a circle", l().symlink("a", "b").symlink("b", "a").file("a/x", ""), None),
        ("through a file", l().file("f", "").file("f/x", ""), None),
        ("through a device", l().raw(&Raw { device: (1, 3), ..Raw::new("n", b'3') }, b"").file("n/x", ""), None),
        ("link that is empty", l().symlink("e", ""), None),
        ("the process' own directory", l().symlink("p", "/proc/self/cwd").file("p/x", "evil"), Some("proc/self/cwd/x")),
        ("forged whiteout", l().raw(&Raw::new("w", b'3'), b""), None),
        ("whiteout as a directory", l().dir(".wh.a", 0o755).file(".wh.a/x", ""), None),
        ("name without an end", l().pax(&[("path", &"a/".repeat(5000))]).dir("x", 0o755), None),
        ("too deep", l().pax(&[("path", &"a/".repeat(1000))]).dir("x", 0o755), None),
        ("no such user", l().pax(&[("uid", "4294967295")]).file("x", ""), None),
        ("a negative user", l().pax(&[("uid", "-1")]).file("x", ""), None),
        ("no such type", l().raw(&Raw::new("x", b'D'), b""), None),
    ]
}

#[test]
fn nothing_leads_out() {
    let canary = Canary::new();
    for (name, layer, inside) in cases(&canary.path()) {
        for (result, tree) in attempt(name, &canary, &layer) {
            match inside {
                Some(path) => {
                    result.unwrap_or_else(|e| panic!("{name} in {tree:?}: {e}"));
                    let real = real(&tree, path);
                    assert!(std::fs::symlink_metadata(&real).is_ok(), "{name}: no {real:?}");
                }
                None if name.ends_with("through a link") => {
                    // Allowed to do nothing, or to ask for what is below.
                }
                None => {
                    let error = result.expect_err(name).to_string();
                    assert!(error.starts_with("layer entry \""), "{name}: {error}");
                }
            }
        }
        clear(&canary);
    }
}

fn real(tree: &Path, path: &str) -> PathBuf {
    tree.join(path.trim_start_matches('/'))
}

/// The way that the issue names it.
#[test]
fn the_error_names_the_entry() {
    let tree = tempdir().unwrap();
    let error = Layer::default().file("../../etc/x", "evil").extract(tree.path()).unwrap_err();
    assert_eq!(error.to_string(), "layer entry \"../../etc/x\": leads out of the layer's root");
    let error = Layer::default().hard("h", "/etc/shadow").extract(tree.path()).unwrap_err();
    assert_eq!(error.to_string(), "layer entry \"h\": is a hard link to \"/etc/shadow\", which is not there");
}
