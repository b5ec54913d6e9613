//! Containers.

use wharf_types::{Filters, Id, Namespace};

use crate::fields::{checked, set};
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Container, Containers, Database, Error, Result, codec};

impl Containers for Database {
    fn get(&self, ns: &Namespace, id: &str) -> Result<Container> {
        find(&self.inner.read()?, ns, id)
    }

    fn walk(&self, ns: &Namespace, filters: &Filters, visit: &mut dyn FnMut(Container) -> Result<()>) -> Result<()> {
        let rows = self.inner.read()?;
        rows.scan(RowKind::Container, &[ns.as_str()], &mut |row, bytes| {
            let [_, id, ..] = row.1;
            let container = decode::<codec::Container>(rows.file(), row, bytes)?.read(id);
            if filters.matches(&container) {
                visit(container)?;
            }
            Ok(true)
        })
    }

    fn create(&self, ns: &Namespace, mut container: Container) -> Result<Container> {
        container = valid(container)?;
        self.inner.write(|rows| {
            if rows.has(row(ns, &container.id))? {
                return Err(Error::AlreadyExists { what: "container", name: container.id });
            }
            rows.ensure_namespace(ns)?;
            (container.created_at, container.updated_at) = (rows.now, rows.now);
            rows.put(row(ns, &container.id), &codec::Container::from(container.clone()))?;
            Ok(container)
        })
    }

    fn update(&self, ns: &Namespace, container: Container, paths: &[String]) -> Result<Container> {
        if container.id.is_empty() {
            return Err(Error::Invalid("a container needs an identifier".to_owned()));
        }
        self.inner.write(|rows| {
            let mut updated = find(rows, ns, &container.id)?;
            if paths.is_empty() {
                same("snapshotter", &updated.id, &updated.snapshotter, &container.snapshotter)?;
                same("runtime.name", &updated.id, &updated.runtime.name, &container.runtime.name)?;
                for path in ["labels", "spec", "extensions", "image", "snapshotkey"] {
                    change(&mut updated, &container, path)?;
                }
            }
            for path in paths {
                change(&mut updated, &container, path)?;
            }
            updated = valid(updated)?;
            updated.updated_at = rows.now;
            rows.put(row(ns, &updated.id), &codec::Container::from(updated.clone()))?;
            Ok(updated)
        })
    }

    fn delete(&self, ns: &Namespace, id: &str) -> Result<()> {
        self.inner.write(|rows| if rows.delete(row(ns, id))? { Ok(()) } else { Err(missing(id)) })
    }
}

fn same(field: &str, id: &str, now: &str, asked: &str) -> Result<()> {
    if now == asked {
        return Ok(());
    }
    Err(Error::Invalid(format!("container {id:?}: {field} is {now:?} and never changes, {asked:?} was asked for")))
}

/// Takes over what a path of a field mask names.
fn change(container: &mut Container, from: &Container, path: &str) -> Result<()> {
    match path {
        "labels" => container.labels.clone_from(&from.labels),
        "spec" => container.spec.clone_from(&from.spec),
        "extensions" => container.extensions.clone_from(&from.extensions),
        "image" => container.image.clone_from(&from.image),
        "snapshotkey" | "snapshot_key" => container.snapshot_key.clone_from(&from.snapshot_key),
        _ => {
            if let Some(key) = path.strip_prefix("labels.") {
                set(&mut container.labels, key, &from.labels);
            } else if let Some(key) = path.strip_prefix("extensions.") {
                match from.extensions.get(key) {
                    Some(value) => drop(container.extensions.insert(key.to_owned(), value.clone())),
                    None => drop(container.extensions.remove(key)),
                }
            } else {
                let id = &container.id;
                return Err(Error::Invalid(format!("container {id:?}: there is no field {path:?} to change")));
            }
        }
    }
    Ok(())
}

fn valid(mut container: Container) -> Result<Container> {
    let id = container.id.parse::<Id>().map_err(|e| Error::Invalid(format!("container: {e}")))?;
    let refuse = |what: &str| Err(Error::Invalid(format!("container {id}: {what}")));
    if container.extensions.contains_key("") {
        return refuse("an extension has an empty name");
    }
    if container.runtime.name.is_empty() {
        return refuse("it names no runtime");
    }
    if container.spec.is_none() {
        return refuse("it has no specification");
    }
    if !container.snapshot_key.is_empty() && container.snapshotter.is_empty() {
        return refuse("it has the key of a snapshot and no snapshotter");
    }
    container.labels = checked("container", &container.id, container.labels)?;
    Ok(container)
}

fn find(rows: &impl Rows, ns: &Namespace, id: &str) -> Result<Container> {
    let found: Option<codec::Container> = rows.find(row(ns, id))?;
    found.map(|found| found.read(id)).ok_or_else(|| missing(id))
}

fn row<'a>(ns: &'a Namespace, id: &'a str) -> Row<'a> {
    Row::new(RowKind::Container, &[ns.as_str(), id])
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "container", name: id.to_owned() }
}
