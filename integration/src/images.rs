//! Images that the promises are shown with, made by others' tools.

use std::path::Path;

use crate::layout::Layout;

/// Links that make a busybox of the one static program.
const BUSYBOX: &str = "mkdir -p bin etc tmp root proc sys dev\n\
    cp \"$(command -v busybox)\" bin/busybox\n\
    for name in $(bin/busybox --list); do [ \"$name\" = busybox ] || ln -s busybox \"bin/$name\"; done\n\
    echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd\n\
    echo 'root:x:0:' > etc/group\n\
    chmod 1777 tmp";

/// Debian's static busybox, one layer, running `sh`.
///
/// # Errors
/// umoci's own words.
pub fn busybox(folder: &Path) -> anyhow::Result<Layout> {
    let layout = Layout::new(folder, "busybox")?;
    layout.layer(BUSYBOX)?;
    layout.config(&["--config.cmd", "sh"])?;
    Ok(layout)
}

/// Everything that layers can say, over five of them: whiteouts, an opaque directory, hard links, extended attributes, devices,
/// odd modes, owners and times, links of all kinds, long and odd names, sparse files.
///
/// # Errors
/// umoci's own words.
pub fn everything(folder: &Path) -> anyhow::Result<Layout> {
    let layout = Layout::new(folder, "everything")?;
    layout.layer(&format!(
        "{BUSYBOX}\nmkdir -p a/b/c gone opaque/old\necho one > a/b/c/one\nln a/b/c/one a/hard\necho gone > gone/file\n\
         echo old > opaque/old/file\nln -s ../a/b link\nln -s /nowhere dangling\nchown 1234:5678 a/b\nchmod 2751 a/b\n\
         touch -d '2001-02-03 04:05:06' a/b/c/one a/b"
    ))?;
    layout.layer(
        "rm -r gone\nrm a/hard\nmkfifo fifo\nmknod null c 1 3\nmknod block b 7 200\nchmod 4755 bin/busybox\n\
         setfattr -n user.wharf -v value a/b/c/one\nsetfattr -n security.capability \
         -v 0x0100000200200000000000000000000000000000 bin/busybox",
    )?;
    layout.layer(
        "rm -r opaque\nmkdir opaque\necho new > opaque/new\nchmod 700 opaque\n\
         name=$(printf 'n%.0s' $(seq 1 200)); mkdir -p long/$name/$name; echo long > long/$name/$name/file\n\
         echo odd > 'a name with spaces, äöü and \\backslash'",
    )?;
    layout.layer(
        "truncate -s 10M sparse\nprintf middle | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none\n\
         ln a/b/c/one second-name\nln a/b/c/one third-name\nrm link\nmkdir link\necho in > link/file",
    )?;
    layout.layer(
        "rm -r long\necho changed >> a/b/c/one\nrm -r a/b\nmkdir -p a/b\necho again > a/b/again\nmkdir empty\n\
         touch -d '1999-12-31 23:59:59' empty\nchown 0:42 empty",
    )?;
    layout.config(&["--config.cmd", "sh"])?;
    Ok(layout)
}

/// Over 500 MB in seven uneven layers, half of it compressible, on top of busybox.
///
/// # Errors
/// umoci's own words.
pub fn large(folder: &Path) -> anyhow::Result<Layout> {
    let layout = busybox(folder)?.tagged("busybox");
    let source = folder.join("large");
    for (layer, megabytes) in [20, 40, 60, 80, 100, 110, 120].into_iter().enumerate() {
        std::fs::create_dir_all(&source)?;
        for file in 0..megabytes {
            std::fs::write(source.join(format!("file-{file}")), megabyte(layer * 1000 + file))?;
        }
        layout.insert(&source, &format!("/layer-{layer}"))?;
        std::fs::remove_dir_all(&source)?;
    }
    Ok(layout)
}

/// A megabyte of which half compresses well, the same for the same number.
#[must_use]
pub fn megabyte(number: usize) -> Vec<u8> {
    let mut state = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(1 << 20);
    while bytes.len() < 1 << 20 {
        for _ in 0..64 {
            // xorshift64: noise that no compressor shortens.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.resize(bytes.len() + 512, b'w');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree;

    #[test]
    fn everything_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let layout = everything(folder.path()).unwrap();
        let tree = tree(&layout.unpack(&folder.path().join("unpacked")).unwrap()).unwrap();
        let what = |path: &str| tree.get(Path::new(path)).map(|entry| entry.what.clone()).unwrap_or_default();
        assert_eq!(what("fifo"), "fifo");
        assert_eq!(what("dangling"), "link to /nowhere");
        assert!(what("null").starts_with("character device") && what("block").starts_with("block device"));
        assert!(!tree.contains_key(Path::new("gone")) && !tree.contains_key(Path::new("opaque/old")));
        assert!(tree[Path::new("bin/busybox")].attributes.contains_key("security.capability"));
        assert_eq!(tree[Path::new("third-name")].same_as, tree[Path::new("second-name")].same_as);
    }

    #[test]
    fn a_large_layers_bytes_are_the_same_each_time() {
        assert_eq!(megabyte(7), megabyte(7));
        assert_ne!(megabyte(7), megabyte(8));
        assert_eq!(megabyte(7).len(), 1 << 20);
    }
}
