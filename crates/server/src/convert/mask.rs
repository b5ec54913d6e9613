//! Field masks: which fields an update is about.

use std::collections::HashMap;

use prost_types::FieldMask;
use tonic::Status;
use wharf_types::{LabelChange, Labels};

/// The paths of a mask; none where there is no mask, which means everything that may change.
pub(crate) fn paths(mask: Option<FieldMask>) -> Vec<String> {
    mask.map(|mask| mask.paths).unwrap_or_default()
}

/// What an update of something of which only labels can change says: no mask or `labels` replaces all of them,
/// `labels.KEY` sets that one, or removes it when it has no value.
///
/// # Errors
/// `InvalidArgument` for any other path.
pub(crate) fn label_change(mask: Option<FieldMask>, labels: HashMap<String, String>) -> Result<LabelChange, Status> {
    let paths = paths(mask);
    if paths.is_empty() || paths.iter().any(|path| path == "labels") {
        return match paths.iter().find(|path| *path != "labels" && !path.starts_with("labels.")) {
            Some(path) => Err(refused(path)),
            None => Ok(LabelChange::Replace(labels.into_iter().collect())),
        };
    }
    let one = |path: &String| {
        let key = path.strip_prefix("labels.").ok_or_else(|| refused(path))?;
        Ok((key.to_owned(), labels.get(key).cloned().unwrap_or_default()))
    };
    paths.iter().map(one).collect::<Result<Labels, Status>>().map(LabelChange::Merge)
}

fn refused(path: &str) -> Status {
    Status::invalid_argument(format!("field {path:?} cannot be updated: only labels can"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(paths: &[&str]) -> Result<LabelChange, Status> {
        let mask = FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() };
        label_change(Some(mask), HashMap::from([("a".to_owned(), "1".to_owned()), ("b.c".to_owned(), "2".to_owned())]))
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_mask_says_which_labels_change() {
        assert_eq!(change(&[]).unwrap(), LabelChange::Replace(labels(&[("a", "1"), ("b.c", "2")])));
        assert_eq!(change(&["labels"]).unwrap(), LabelChange::Replace(labels(&[("a", "1"), ("b.c", "2")])));
        assert_eq!(change(&["labels.b.c"]).unwrap(), LabelChange::Merge(labels(&[("b.c", "2")])));
        assert_eq!(change(&["labels.gone"]).unwrap(), LabelChange::Merge(labels(&[("gone", "")])));
        for paths in [&["size"][..], &["labels", "size"], &["labels.a", "digest"]] {
            assert_eq!(change(paths).unwrap_err().code(), tonic::Code::InvalidArgument);
        }
    }
}
