//! Who a container's process runs as: `USER` of an image, looked up in the image's own files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{User, UserBuilder};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use wharf_api::containerd::types::Mount;

use crate::{Error, Result};

/// The most bytes of `/etc/passwd` or `/etc/group` that are looked at.
const MAX_FILE: u64 = 10 << 20;

/// A user and groups, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The first group.
    pub gid: u32,
    /// All other groups.
    pub more: Vec<u32>,
}

impl Identity {
    /// User and group 0.
    #[must_use]
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, more: Vec::new() }
    }

    pub(crate) fn to_user(&self) -> Result<User> {
        // The first group is listed too, as containerd does, so that `id -G` shows it whatever the runtime adds.
        let mut groups = vec![self.gid];
        groups.extend(self.more.iter().filter(|gid| **gid != self.gid));
        let user = UserBuilder::default().uid(self.uid).gid(self.gid).additional_gids(groups).build();
        user.map_err(|error| Error::io("write the user")(std::io::Error::other(error)))
    }

    /// Reads `user`, in the forms `user`, `uid`, `user:group`, `uid:gid` and empty, with the files of the tree that `mounts` describe.
    ///
    /// # Errors
    /// [`Error::Image`] for a name that the tree does not know, or a number that is none or beyond 2³¹ − 1.
    pub fn lookup(image: &str, user: &str, mounts: &[Mount]) -> Result<Self> {
        let refuse = |reason: String| Error::Image { image: image.to_owned(), reason };
        let (name, group) = user.split_once(':').map_or((user, None), |(name, group)| (name, Some(group)));
        let passwd = read(mounts, "etc/passwd").unwrap_or_default();
        let groups = read(mounts, "etc/group").unwrap_or_default();
        let number = number(if name.is_empty() { "0" } else { name }).map_err(&refuse)?;
        let entry = entries(&passwd).find(|entry| match number {
            Some(uid) => entry.get(2).is_some_and(|text| text.parse() == Ok(uid)),
            None => entry.first() == Some(&name),
        });
        let uid = match (number, &entry) {
            (Some(uid), _) => uid,
            (None, Some(entry)) => {
                field(entry, 2).ok_or_else(|| refuse(format!("user {name:?} has no number in its /etc/passwd")))?
            }
            (None, None) => return Err(refuse(format!("user {name:?} is not in its /etc/passwd"))),
        };
        let gid = match group {
            Some(group) => group_number(group, &groups).map_err(&refuse)?,
            None => entry.as_ref().and_then(|entry| field(entry, 3)).unwrap_or(0),
        };
        let known_as = entry.as_ref().and_then(|entry| entry.first()).copied();
        Ok(Self { uid, gid, more: memberships(known_as, &groups) })
    }
}

/// A number in the range that kernels and containerd take, nothing for a name.
fn number(text: &str) -> std::result::Result<Option<u32>, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    let value = text.parse::<u32>().ok().filter(|value| i32::try_from(*value).is_ok() && !text.starts_with('+'));
    value.map(Some).ok_or_else(|| format!("{text:?} is no user or group number: wanted 0 to 2147483647"))
}

fn group_number(group: &str, groups: &str) -> std::result::Result<u32, String> {
    if let Some(gid) = number(group)? {
        return Ok(gid);
    }
    let entry = entries(groups).find(|entry| entry.first() == Some(&group));
    entry.and_then(|entry| field(&entry, 2)).ok_or_else(|| format!("group {group:?} is not in its /etc/group"))
}

/// The groups that list the user by name.
fn memberships(user: Option<&str>, groups: &str) -> Vec<u32> {
    let Some(user) = user else { return Vec::new() };
    entries(groups)
        .filter(|entry| entry.get(3).is_some_and(|members| members.split(',').any(|member| member.trim() == user)))
        .filter_map(|entry| field(&entry, 2))
        .collect()
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.trim().split(':').collect())
}

fn field(entry: &[&str], index: usize) -> Option<u32> {
    entry.get(index)?.parse().ok().filter(|value| i32::try_from(*value).is_ok())
}

/// A file of the tree, looked for in the layers from the top; nothing when there is none, or it is no regular file. Nothing
/// is mounted, and no link leads outside of the layer it is in.
fn read(mounts: &[Mount], path: &str) -> Option<String> {
    layers(mounts).iter().find_map(|layer| read_inside(layer, path))
}

fn layers(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.first() else { return Vec::new() };
    if mount.r#type == "bind" {
        return vec![PathBuf::from(&mount.source)];
    }
    let option = |name: &str| {
        mount.options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
    };
    let lower = option("lowerdir");
    let upper = option("upperdir");
    [upper.as_str()].into_iter().chain(lower.split(':')).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

fn read_inside(layer: &Path, path: &str) -> Option<String> {
    let root = std::fs::File::open(layer).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = std::fs::File::from(openat2(&root, path, flags, Mode::empty(), inside).ok()?);
    let found = file.metadata().ok()?;
    if !found.is_file() || found.len() > MAX_FILE {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Vec<Mount>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n007:x:0:0::/:/bin/sh\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(folder.path().join("etc/group"), "staff:x:50:ada,bob\nada:x:1001:\n").unwrap();
        let source = folder.path().display().to_string();
        (folder, vec![Mount { r#type: "bind".into(), source, ..Default::default() }])
    }

    #[test]
    fn names_and_numbers_are_looked_up_in_the_tree() {
        let (_folder, mounts) = tree();
        let look = |user: &str| Identity::lookup("image", user, &mounts).unwrap();
        assert_eq!(look("ada"), Identity { uid: 1000, gid: 1001, more: vec![50] });
        assert_eq!(look("ada:staff"), Identity { uid: 1000, gid: 50, more: vec![50] });
        assert_eq!(look("1000"), Identity { uid: 1000, gid: 1001, more: vec![50] });
        assert_eq!(look("4711"), Identity { uid: 4711, gid: 0, more: vec![] });
        assert_eq!(look(""), Identity { uid: 0, gid: 0, more: vec![] });
    }

    #[test]
    fn odd_users_are_refused_and_never_root() {
        let (_folder, mounts) = tree();
        for user in
            ["-1", "2147483648", "4294967296", "18446744073709551616", "4294967296:0", "nobody", "ada:nobody", "+5"]
        {
            assert!(Identity::lookup("image", user, &mounts).is_err(), "{user} was taken");
        }
        // Digits are a number, whatever entry they name.
        assert_eq!(Identity::lookup("image", "007", &mounts).unwrap().uid, 7);
    }

    #[test]
    fn a_link_to_the_hosts_files_is_not_followed_outside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("etc/passwd")).unwrap();
        assert_eq!(read_inside(folder.path(), "etc/passwd"), None);
    }
}
