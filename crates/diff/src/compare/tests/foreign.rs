//! Go's and GNU's readers see in our layers what we put there, and `umoci repack` writes layers to the same end.

use std::collections::BTreeMap;

use super::*;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn umoci(all: &Path, args: &str) {
    run(Command::new("umoci").current_dir(all).args(args.split(' ')));
}

#[test]
fn gnu_tar_makes_the_same_tree_of_it() {
    let trees = Trees::new();
    let after = trees.twin("after");
    change(&after);
    let layer = compare(&[], &[bind(&after)]).unwrap();
    std::fs::write(trees.at("layer.tar"), layer).unwrap();
    let to = trees.empty("to");
    let flags = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--same-owner", "-xpf"];
    run(Command::new("tar").args(flags).arg(trees.at("layer.tar")).arg("-C").arg(&to));
    let (mut seen, mut wanted) = (seen(&to), seen(&after));
    // GNU tar sets no attribute of no bytes.
    for tree in [&mut seen, &mut wanted] {
        let line = tree.get_mut("attr").unwrap();
        *line = line.replace(" user.empty=", "");
    }
    assert_eq!(seen, wanted);
}

/// Takes away what umoci does not set as Go reads it: attributes of no bytes, and times after 2038.
fn tame(root: &Path) {
    rustix::fs::lremovexattr(root.join("attr"), "user.empty").unwrap();
    let name = "n".repeat(200);
    dated(&root.join(format!("{name}/\u{fc}/{name}/\u{1F40B}")), 1_600_000_000, 123_456_789);
}

/// What `umoci` makes of an image, without its root.
fn unpacked(trees: &Trees, image: &str) -> BTreeMap<String, String> {
    umoci(trees.all.path(), &format!("raw unpack --image layout:{image} {image}"));
    seen(&trees.at(image))
}

#[test]
fn umoci_makes_the_same_tree_of_our_layers_as_of_its_own() {
    let trees = Trees::new();
    let (all, after) = (trees.all.path(), trees.twin("after"));
    change(&after);
    for args in ["init --layout layout", "new --image layout:empty", "unpack --image layout:empty bundle"] {
        umoci(all, args);
    }
    tame(&after);
    // Ours: everything, then the difference.
    std::fs::write(trees.at("base.tar"), compare(&[], &[bind(&trees.at("before"))]).unwrap()).unwrap();
    std::fs::write(trees.at("top.tar"), compare(&[bind(&trees.at("before"))], &[bind(&after)]).unwrap()).unwrap();
    umoci(all, "raw add-layer --image layout:empty --tag ours-base base.tar");
    umoci(all, "raw add-layer --image layout:ours-base --tag ours top.tar");
    assert_eq!(unpacked(&trees, "ours-base"), seen(&trees.at("before")));
    let ours = unpacked(&trees, "ours");
    assert_eq!(ours, seen(&after));
    // Theirs: the same change to what they unpacked themselves.
    umoci(all, "unpack --image layout:ours-base bundle2");
    change(&trees.at("bundle2/rootfs"));
    tame(&trees.at("bundle2/rootfs"));
    umoci(all, "repack --image layout:theirs bundle2");
    // Its times are whole seconds, rounded.
    let timeless = |tree: BTreeMap<String, String>| {
        let without =
            |line: String| line.split(' ').enumerate().filter(|(i, _)| *i != 2).map(|(_, w)| format!("{w} ")).collect();
        tree.into_iter().map(|(path, line)| (path, without(line))).collect::<BTreeMap<String, String>>()
    };
    assert_eq!(timeless(unpacked(&trees, "theirs")), timeless(ours));
}
