//! What filters may ask of a snapshot.

use std::borrow::Cow;

use wharf_types::filter::Fields;

use crate::Info;

impl Fields for Info {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        match path {
            ["name"] => Some(Cow::Borrowed(&self.name)),
            // Every snapshot has the field, as containerd's do: `parent==""` finds those without one.
            ["parent"] => Some(Cow::Borrowed(self.parent.as_deref().unwrap_or_default())),
            ["kind"] => Some(Cow::Borrowed(self.kind.name())),
            // A label's key has points of its own, which a filter may leave unquoted.
            ["labels", key @ ..] => self.labels.get(&key.join(".")).map(|value| Cow::Borrowed(value.as_str())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::Kind;

    #[test]
    fn labels_are_found_by_path() {
        let info = Info {
            name: "n".into(),
            parent: None,
            kind: Kind::View,
            created_at: SystemTime::UNIX_EPOCH,
            updated_at: SystemTime::UNIX_EPOCH,
            labels: [("a.b/c".to_owned(), "v".to_owned())].into(),
        };
        assert_eq!(info.field(&["labels", "a.b/c"]).as_deref(), Some("v"));
        assert_eq!(info.field(&["labels", "a", "b/c"]).as_deref(), Some("v"));
        assert_eq!(info.field(&["kind"]).as_deref(), Some("view"));
        assert_eq!(info.field(&["parent"]).as_deref(), Some(""));
        assert_eq!(info.field(&["labels"]), None);
    }
}
