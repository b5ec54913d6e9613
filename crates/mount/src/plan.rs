//! Which mounts are made on this side, and how.

use wharf_metadata::ActiveMount;
use wharf_types::Mount;

use crate::{Activate, Error, Result, template};

/// A file as a block device.
pub(crate) const LOOP: &str = "loop";

/// The most mounts of one activation (overlayfs takes 500 lower directories).
const MOST: usize = 512;

/// What is asked, split.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Made here, bottom first.
    pub(crate) here: Vec<Step>,
    /// Left to the client.
    pub(crate) left: Vec<Step>,
}

/// A mount, and whether its texts are templates.
#[derive(Debug)]
pub(crate) struct Step {
    mount: Mount,
    template: bool,
}

/// True for a type that only this side makes sense of.
pub(crate) fn is_ours(kind: &str) -> bool {
    kind == LOOP || ["format/", "mkdir/", "mkfs/"].iter().any(|prefix| kind.starts_with(prefix))
}

impl Plan {
    /// A mount whose texts are templates has all before it made here; one that is a device is made here itself.
    pub(crate) fn of(asked: &Activate) -> Result<Self> {
        if asked.name.is_empty() {
            return Err(Error::Invalid { name: String::new(), reason: "it needs a name".to_owned() });
        }
        if asked.mounts.len() > MOST {
            let reason = format!("{} mounts are asked for, at most {MOST} are made", asked.mounts.len());
            return Err(Error::Invalid { name: asked.name.clone(), reason });
        }
        let steps = asked.mounts.iter().map(|mount| Step::of(&asked.name, mount)).collect::<Result<Vec<_>>>()?;
        let needs = |(place, step): (usize, &Step)| match () {
            () if asked.temporary || step.mount.kind == LOOP => Some(place + 1),
            () if step.template => Some(place),
            () => None,
        };
        let count = steps.iter().enumerate().filter_map(needs).max();
        let count = count.ok_or_else(|| Error::Needless(asked.name.clone()))?;
        let mut here = steps;
        let left = here.split_off(count);
        Ok(Self { here, left })
    }
}

impl Step {
    fn of(name: &str, mount: &Mount) -> Result<Self> {
        let (mut kind, mut template) = (mount.kind.as_str(), false);
        while let Some(rest) = kind.strip_prefix("format/") {
            (kind, template) = (rest, true);
        }
        if kind.starts_with("mkdir/") || kind.starts_with("mkfs/") {
            return Err(Error::Unprepared { name: name.to_owned(), kind: mount.kind.clone() });
        }
        Ok(Self { mount: Mount { kind: kind.to_owned(), ..mount.clone() }, template })
    }

    /// The mount, with its texts filled in from those before it.
    pub(crate) fn fill(self, name: &str, before: &[ActiveMount]) -> Result<Mount> {
        let mut mount = self.mount;
        if self.template {
            let filled = template::fill(&mut mount, before);
            filled.map_err(|reason| Error::Invalid { name: name.to_owned(), reason })?;
        }
        Ok(mount)
    }
}
