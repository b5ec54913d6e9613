//! Names of entries, and what they stand for.

use super::trouble::{Outcome, Trouble};
use crate::at::split;

/// The longest path the kernel takes, its zero byte not counted.
const PATH_MAX: usize = 4095;

/// What marks a name as a whiteout.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// What marks the names that AUFS kept for itself.
const RESERVED: &[u8] = b".wh..wh.";

/// The marker of an opaque directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry's name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The root of the tree.
    Root,
    /// A file called `name` in `parent`.
    File { parent: &'a [u8], name: &'a [u8] },
    /// `name` in `parent` is not to be seen any more.
    Whiteout { parent: &'a [u8], name: &'a [u8] },
    /// Nothing of what the layers below have in this directory is to be seen any more.
    Opaque(&'a [u8]),
    /// Bookkeeping of AUFS, to be passed over.
    Nothing,
}

/// The path that `raw` names below the root: no slash at its ends, no `.` and no `..`. As Go's `path.Clean` does, `..` takes
/// away the name before it; what would leave the root is refused.
pub(super) fn clean(raw: &[u8]) -> Outcome<Vec<u8>> {
    if raw.len() > PATH_MAX {
        return Err(Trouble::refused(format!("a path of {} bytes, {PATH_MAX} are taken", raw.len())));
    }
    let mut path = Vec::with_capacity(raw.len());
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if path.is_empty() => return Err(Trouble::refused("leads out of the layer's root")),
            b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            name => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
            }
        }
    }
    Ok(path)
}

/// What a clean path stands for.
pub(super) fn meaning(path: &[u8]) -> Outcome<Meaning<'_>> {
    if path.is_empty() {
        return Ok(Meaning::Root);
    }
    let (parent, name) = split(path);
    let parts = || parent.split(|b| *b == b'/');
    if parts().any(|part| part.starts_with(RESERVED)) {
        return Ok(Meaning::Nothing);
    }
    if parts().any(|part| part.starts_with(WHITEOUT)) {
        return Err(Trouble::refused("lies in a directory that is named as a whiteout"));
    }
    if name == OPAQUE {
        return Ok(Meaning::Opaque(parent));
    }
    if name.starts_with(RESERVED) {
        return Ok(Meaning::Nothing);
    }
    match name.strip_prefix(WHITEOUT) {
        Some(b"" | b"." | b"..") => Err(Trouble::refused("a whiteout of nothing that has a name")),
        Some(name) => Ok(Meaning::Whiteout { parent, name }),
        None => Ok(Meaning::File { parent, name }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::at::ancestors;

    #[test]
    fn names_are_cleaned_or_refused() {
        for (raw, wanted) in
            [("./a//b/", "a/b"), ("/a/./b", "a/b"), ("a/../b", "b"), ("./", ""), ("a/b/..", "a"), ("/", "")]
        {
            assert_eq!(clean(raw.as_bytes()).unwrap(), wanted.as_bytes(), "{raw}");
        }
        for raw in ["..", "../a", "a/../../b", "/../a", "./../a"] {
            assert!(clean(raw.as_bytes()).is_err(), "{raw} was taken");
        }
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        assert_eq!(meaning(b"a/.wh.b").unwrap(), Meaning::Whiteout { parent: b"a", name: b"b" });
        assert_eq!(meaning(b".wh..wh..opq").unwrap(), Meaning::Opaque(b""));
        assert_eq!(meaning(b".wh..wh.plnk/1.2").unwrap(), Meaning::Nothing);
        assert_eq!(meaning(b".wh..wh.aufs").unwrap(), Meaning::Nothing);
        for refused in [&b".wh."[..], b"a/.wh...", b"a/.wh..", b".wh.a/b"] {
            assert!(meaning(refused).is_err(), "{refused:?}");
        }
        assert_eq!(ancestors(b"a/b/c").collect::<Vec<_>>(), [&b"a/b"[..], b"a"]);
    }
}
