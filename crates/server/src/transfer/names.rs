//! The names that a transfer gives to what it brought (containerd: `core/transfer/image`, `Store`).

use std::time::SystemTime;

use wharf_api::containerd::types::transfer::{ImageReference, ImageStore};
use wharf_types::labels::{GC_BREF_IMAGE, GC_EXPIRE};
use wharf_types::{Descriptor, Labels, rfc3339};

use crate::convert::labels;

/// The annotation with an image's full name.
const NAME: &str = "io.containerd.image.name";

/// The annotation with a tag, or a name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The names of the whole that was pulled or imported, and the labels of each.
pub(super) fn of_target(to: &ImageStore, target: &Descriptor) -> Vec<(String, Labels)> {
    let own = (!to.name.is_empty()).then(|| (to.name.clone(), labels(to.labels.clone())));
    let more = to.extra_references.iter().filter_map(|reference| {
        let name = match (reference.is_prefix, reference.add_digest) {
            (true, false) => return None,
            (_, true) => digested(reference, target),
            (false, false) => reference.name.clone(),
        };
        Some((name, extra(to)))
    });
    own.into_iter().chain(more).collect()
}

/// The names of one image of an archive: those that its annotations tell, as far as prefixes let them.
pub(super) fn of_image(to: &ImageStore, image: &Descriptor) -> Vec<(String, Labels)> {
    let mut names = Vec::new();
    for reference in to.extra_references.iter().filter(|reference| reference.is_prefix) {
        let named = told(reference, image);
        let wanted = reference.add_digest && !(reference.skip_named_digest && named.is_some());
        names.extend(named);
        names.extend(wanted.then(|| digested(reference, image)));
    }
    names.into_iter().filter(|name| !name.is_empty()).map(|name| (name, extra(to))).collect()
}

/// Names beside the first one go when that one goes.
fn extra(to: &ImageStore) -> Labels {
    let mut all = labels(to.labels.clone());
    if !to.name.is_empty() {
        all.insert(GC_BREF_IMAGE.to_owned(), to.name.clone());
        all.insert(GC_EXPIRE.to_owned(), rfc3339::format(SystemTime::now()));
    }
    all
}

fn digested(reference: &ImageReference, target: &Descriptor) -> String {
    format!("{}@{}", reference.name, target.digest)
}

/// The name that annotations tell, if it is under the prefix, or may be another.
fn told(reference: &ImageReference, image: &Descriptor) -> Option<String> {
    if reference.name.is_empty() {
        return None;
    }
    // A full name is taken as it is or not at all; a tag is put behind the prefix.
    if let Some(name) = image.annotations.get(NAME).filter(|name| !name.is_empty()) {
        return (name.contains(['/', ':', '@']) && fits(reference, name)).then(|| name.clone());
    }
    let name = image.annotations.get(REF_NAME).filter(|name| !name.is_empty())?;
    match name.contains(['/', ':', '@']) {
        true => fits(reference, name).then(|| name.clone()),
        false => Some(format!("{}:{name}", reference.name)),
    }
}

fn fits(reference: &ImageReference, name: &str) -> bool {
    let rest = name.strip_prefix(&reference.name);
    reference.allow_overwrite || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use wharf_types::Digest;

    use super::*;

    fn store(name: &str, reference: ImageReference) -> ImageStore {
        ImageStore { name: name.into(), extra_references: vec![reference], ..ImageStore::default() }
    }

    fn prefix(name: &str) -> ImageReference {
        ImageReference { name: name.into(), is_prefix: true, ..ImageReference::default() }
    }

    fn names(to: &ImageStore, key: &str, value: &str) -> Vec<String> {
        let mut image = Descriptor::new("", Digest::of(b""), 0);
        image.annotations.insert(key.into(), value.into());
        of_image(to, &image).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_in_archives_count_as_far_as_the_prefix_goes() {
        let to = store("", prefix("a.io/b"));
        assert_eq!(names(&to, REF_NAME, "v1"), ["a.io/b:v1"]);
        assert_eq!(names(&to, NAME, "a.io/b:v1"), ["a.io/b:v1"]);
        assert_eq!(names(&to, NAME, "a.io/bc:v1"), [""; 0]);
        assert_eq!(names(&to, NAME, "other/b:v1"), [""; 0]);
        let to = store("", ImageReference { allow_overwrite: true, ..prefix("a.io/b") });
        assert_eq!(names(&to, NAME, "other/b:v1"), ["other/b:v1"]);
    }

    #[test]
    fn digests_are_added_where_that_is_wanted() {
        let digested = format!("a.io/b@{}", Digest::of(b""));
        let to = store("", ImageReference { add_digest: true, ..prefix("a.io/b") });
        assert_eq!(names(&to, REF_NAME, "v1"), ["a.io/b:v1", &digested]);
        assert_eq!(names(&to, "x", "y"), [digested.as_str()]);
        let to = store("", ImageReference { add_digest: true, skip_named_digest: true, ..prefix("a.io/b") });
        assert_eq!(names(&to, REF_NAME, "v1"), ["a.io/b:v1"]);
    }

    #[test]
    fn further_names_go_with_the_first() {
        let to = store("a.io/b:v1", ImageReference { name: "a.io/b:v2".into(), ..ImageReference::default() });
        let all = of_target(&to, &Descriptor::new("", Digest::of(b""), 0));
        assert_eq!(all[0], ("a.io/b:v1".to_owned(), Labels::new()));
        assert_eq!((all[1].0.as_str(), all[1].1[GC_BREF_IMAGE].as_str()), ("a.io/b:v2", "a.io/b:v1"));
    }
}
