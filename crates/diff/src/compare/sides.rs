//! What mounts say about the trees they show.

use std::path::PathBuf;

use wharf_types::Mount;

/// A directory in overlayfs' form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) dir: PathBuf,
    /// Its marks are attributes that users may set.
    pub(super) userxattr: bool,
}

/// The directory that is all there is between `lower` and `upper`, where their mounts show that there is one.
pub(super) fn difference(lower: &[Mount], upper: &[Mount]) -> Option<Side> {
    let [mount] = upper else { return None };
    let mut above = layers(mount)?.into_iter();
    let dir = above.next()?;
    let below = match lower {
        [] => Vec::new(),
        [mount] => layers(mount)?,
        _ => return None,
    };
    let userxattr = mount.options.iter().any(|o| o == "userxattr");
    above.eq(below).then_some(Side { dir: PathBuf::from(dir), userxattr })
}

/// The directories that a mount lays over each other, the uppermost first. None where it does more than that.
fn layers(mount: &Mount) -> Option<Vec<&str>> {
    let options = || mount.options.iter().map(String::as_str);
    let mapped = options().any(|o| o.starts_with("uidmap=") || o.starts_with("gidmap="));
    if !mount.target.is_empty() || mapped {
        return None;
    }
    if is_bind(mount) {
        return Some(vec![&mount.source]);
    }
    if mount.kind != "overlay" {
        return None;
    }
    let mut dirs = Vec::from_iter(mount.option("upperdir"));
    for option in options() {
        match option.split_once('=') {
            // Names with these are quoted, two colons begin layers that are seen by redirects only.
            Some(("lowerdir", list)) if list.contains('\\') || list.contains("::") => return None,
            Some(("lowerdir", list)) => dirs.extend(list.split(':')),
            Some(("lowerdir+", dir)) => dirs.push(dir),
            // An index knows names of changed files that the directory does not have.
            Some(("datadir+", _) | ("index", "on")) => return None,
            _ => {}
        }
    }
    Some(dirs)
}

fn is_bind(mount: &Mount) -> bool {
    matches!(mount.kind.as_str(), "bind" | "rbind") || mount.options.iter().any(|o| o == "bind" || o == "rbind")
}

/// The same trees, for reading alone. An overlay's upper directory becomes its uppermost lower one: it may be mounted
/// elsewhere, and two overlays must not share it (Documentation/filesystems/overlayfs.rst, "Sharing and copying layers").
pub(super) fn read_only(mounts: &[Mount]) -> Vec<Mount> {
    mounts.iter().map(one).collect()
}

fn one(mount: &Mount) -> Mount {
    let mut mount = mount.clone();
    mount.options.retain(|o| o != "rw");
    if is_bind(&mount) {
        // What is mounted within the tree is none of the tree's.
        mount.kind = "bind".into();
        mount.options.retain(|o| o != "rbind");
    }
    if mount.kind == "overlay" {
        let upper = mount.option("upperdir").map(str::to_owned);
        let ours = ["upperdir=", "workdir=", "index=", "nfs_export=", "fsync="];
        mount.options.retain(|o| o != "volatile" && !ours.iter().any(|name| o.starts_with(name)));
        if let Some(dir) = upper {
            on_top(&mut mount, dir);
        }
    }
    if !mount.is_read_only() {
        mount.options.push("ro".into());
    }
    mount
}

fn on_top(mount: &mut Mount, dir: String) {
    if let Some(list) = mount.options.iter_mut().find(|o| o.starts_with("lowerdir=")) {
        let below = list.split_once('=').map_or("", |(_, list)| list).to_owned();
        // As the upper directory's name is quoted, so is it quoted here, and a colon in it besides.
        *list = format!("lowerdir={}:{below}", dir.replace(':', "\\:"));
    } else if let Some(at) = mount.options.iter().position(|o| o.starts_with("lowerdir+=")) {
        mount.options.insert(at, format!("lowerdir+={dir}"));
    } else {
        // One directory by itself is no overlay.
        *mount = Mount { kind: "bind".into(), source: dir, options: Vec::new(), ..Mount::default() };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn overlay(options: &[&str]) -> Mount {
        let options = options.iter().map(|&o| o.to_owned()).collect();
        Mount { kind: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }
    }

    fn bind(source: &str) -> Mount {
        Mount { kind: "bind".into(), source: source.into(), options: vec!["rbind".into()], ..Mount::default() }
    }

    fn top(lower: &[Mount], upper: Mount) -> Option<String> {
        difference(lower, &[upper]).map(|side| side.dir.display().to_string())
    }

    #[test]
    fn the_directory_between_two_trees_is_found_where_there_is_one() {
        let active = || overlay(&["index=off", "workdir=/w", "upperdir=/u", "lowerdir=/b:/a"]);
        let view = overlay(&["lowerdir=/b:/a"]);
        assert_eq!(top(std::slice::from_ref(&view), active()), Some("/u".into()));
        assert_eq!(top(&[bind("/a")], view.clone()), Some("/b".into()));
        assert_eq!(top(&[], bind("/a")), Some("/a".into()));
        assert_eq!(top(&[bind("/x")], active()), None);
        assert_eq!(top(&[bind("/a")], bind("/b")), None);
        assert_eq!(top(&[view.clone(), view.clone()], active()), None);
        for odd in ["lowerdir=/b\\:/a", "lowerdir=/b::/a", "datadir+=/a"] {
            assert_eq!(top(std::slice::from_ref(&view), overlay(&["upperdir=/u", odd])), None, "{odd}");
        }
        assert_eq!(top(&[view], overlay(&["upperdir=/u", "lowerdir=/b:/a", "uidmap=0:1:1"])), None);
    }

    #[test]
    fn nothing_is_mounted_for_writing() {
        let options = |mount: Mount| read_only(&[mount]).remove(0).options.join(",");
        assert_eq!(
            options(overlay(&["index=off", "workdir=/w", "upperdir=/u:v", "lowerdir=/b:/a", "volatile", "userxattr"])),
            "lowerdir=/u\\:v:/b:/a,userxattr,ro"
        );
        assert_eq!(options(overlay(&["upperdir=/u", "workdir=/w", "lowerdir+=/a"])), "lowerdir+=/u,lowerdir+=/a,ro");
        let mut writable = bind("/a");
        writable.options.push("rw".into());
        assert_eq!(options(writable), "ro");
        let alone = read_only(&[overlay(&["upperdir=/u"])]).remove(0);
        assert_eq!((alone.kind.as_str(), alone.source.as_str()), ("bind", "/u"));
    }
}
