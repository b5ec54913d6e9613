//! Namespaces.

use wharf_types::{LabelChange, Labels, Namespace};

use crate::database::damaged;
use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Database, Error, NamespaceRecord, Namespaces, Result, codec};

/// What keeps a namespace, in the words that clients are told.
const INSIDE: [(RowKind, &str); 7] = [
    (RowKind::Image, "images"),
    (RowKind::Container, "containers"),
    (RowKind::Sandbox, "sandboxes"),
    (RowKind::Mount, "mounts"),
    (RowKind::Blob, "content"),
    (RowKind::Snapshot, "snapshots"),
    (RowKind::Lease, "leases"),
];

impl Namespaces for Database {
    fn get(&self, name: &Namespace) -> Result<NamespaceRecord> {
        let found: Option<codec::Namespace> = self.inner.read()?.find(row(name))?;
        let found = found.ok_or_else(|| missing(name))?;
        Ok(NamespaceRecord { name: name.clone(), labels: found.labels })
    }

    fn list(&self) -> Result<Vec<NamespaceRecord>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Namespace, &[], &mut |row, bytes| {
            let found: codec::Namespace = decode(rows.file(), row, bytes)?;
            let [name, ..] = row.1;
            let name = name.parse().map_err(|e| damaged(rows.file(), &format!("a namespace is of no name: {e}")))?;
            all.push(NamespaceRecord { name, labels: found.labels });
            Ok(true)
        })?;
        Ok(all)
    }

    fn create(&self, name: &Namespace, labels: &Labels) -> Result<()> {
        let labels = checked("namespace", name.as_str(), labels.clone())?;
        self.inner.write(|rows| {
            if rows.has(row(name))? {
                return Err(Error::AlreadyExists { what: "namespace", name: name.to_string() });
            }
            rows.put(row(name), &codec::Namespace { labels })
        })
    }

    fn update(&self, name: &Namespace, change: &LabelChange) -> Result<NamespaceRecord> {
        self.inner.write(|rows| {
            let mut found: codec::Namespace = rows.find(row(name))?.unwrap_or_default();
            change.apply(&mut found.labels);
            found.labels = checked("namespace", name.as_str(), found.labels)?;
            rows.put(row(name), &found)?;
            Ok(NamespaceRecord { name: name.clone(), labels: found.labels })
        })
    }

    fn delete(&self, name: &Namespace) -> Result<()> {
        self.inner.write(|rows| {
            let mut inside = Vec::new();
            for (kind, what) in INSIDE {
                if let Some(first) = rows.first(kind, &[name.as_str()])? {
                    inside.push(format!("{what} such as {first:?}"));
                }
            }
            if !inside.is_empty() {
                let inside = inside.join(", ");
                return Err(Error::Precondition(format!(
                    "namespace {name}: is not empty, it still has {inside}; remove them first"
                )));
            }
            if !rows.delete(row(name))? {
                return Err(missing(name));
            }
            // What was begun and never finished is nobody's: the collector gives up the bytes.
            rows.delete_all(RowKind::Ingest, &[name.as_str()])?;
            rows.removed = true;
            Ok(())
        })
    }
}

fn row(name: &Namespace) -> Row<'_> {
    Row::new(RowKind::Namespace, &[name.as_str()])
}

fn missing(name: &Namespace) -> Error {
    Error::NotFound { what: "namespace", name: name.to_string() }
}
