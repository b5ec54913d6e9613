//! The labels that a pull writes, as containerd does.

use wharf_content::ContentStore;
use wharf_types::labels::{DISTRIBUTION_SOURCE, GC_REF_CONTENT, MAX_BYTES};
use wharf_types::{Descriptor, Digest, LabelChange, Labels, Reference};

use crate::document::Manifest;
use crate::{Options, Result};

/// The labels of every blob: what the caller wishes, and where it came from.
pub(crate) fn common(reference: &Reference, options: &Options) -> Labels {
    let mut labels = options.labels.clone();
    let key = format!("{DISTRIBUTION_SOURCE}{}", reference.registry());
    labels.insert(key, reference.repository().to_owned());
    labels
}

/// The references of an index to what it lists. The number is the place in the index, so that pulls of one platform after
/// the other agree.
pub(crate) fn of_index(manifests: &[Descriptor]) -> Labels {
    let numbered = manifests.iter().enumerate();
    numbered.map(|(number, child)| (format!("{GC_REF_CONTENT}.m.{number}"), child.digest.to_string())).collect()
}

/// The references of a manifest to its configuration and layers.
pub(crate) fn of_manifest(manifest: &Manifest) -> Labels {
    let layers = manifest.layers.iter().enumerate();
    let layers = layers.map(|(number, layer)| (format!("{GC_REF_CONTENT}.l.{number}"), layer.digest.to_string()));
    let config = (format!("{GC_REF_CONTENT}.config"), manifest.config.digest.to_string());
    layers.chain([config]).collect()
}

/// Gives a blob that is there labels it has not. Sources are added to those it has.
pub(crate) fn merge(content: &dyn ContentStore, digest: &Digest, labels: &Labels) -> Result<()> {
    let found = content.info(digest)?.labels;
    let mut changed = Labels::new();
    for (key, value) in labels {
        let value = match found.get(key) {
            Some(before) if key.starts_with(DISTRIBUTION_SOURCE) => add(key, before, value),
            _ => value.clone(),
        };
        if found.get(key) != Some(&value) {
            changed.insert(key.clone(), value);
        }
    }
    if !changed.is_empty() {
        content.update(digest, &LabelChange::Merge(changed))?;
    }
    Ok(())
}

/// Adds a repository to a list with commas, if there is room for it.
fn add(key: &str, list: &str, repository: &str) -> String {
    let there = list.split(',').any(|one| one == repository);
    let full = key.len() + list.len() + 1 + repository.len() > MAX_BYTES;
    if there || full { list.to_owned() } else { format!("{list},{repository}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_a_list_without_doubles_and_with_an_end() {
        assert_eq!(add("k", "a/b", "c"), "a/b,c");
        assert_eq!(add("k", "a/b,c", "c"), "a/b,c");
        let full = "x".repeat(MAX_BYTES - 1);
        assert_eq!(add("k", &full, "c"), full);
    }
}
