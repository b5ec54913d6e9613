//! Leases and what they hold.

use wharf_types::{Digest, Filters, Labels, Namespace};

use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows, Writing, decode};
use crate::{Database, Error, Lease, Leases, Object, ObjectKind, Resource, Result, codec};

impl Leases for Database {
    fn create(&self, ns: &Namespace, id: &str, labels: &Labels) -> Result<Lease> {
        if id.is_empty() {
            return Err(Error::Invalid("a lease needs an identifier".to_owned()));
        }
        let labels = checked("lease", id, labels.clone())?;
        self.inner.write(|rows| {
            if rows.has(row(ns, id))? {
                return Err(Error::AlreadyExists { what: "lease", name: id.to_owned() });
            }
            rows.ensure_namespace(ns)?;
            let stored = codec::Lease { created: Some(rows.now.into()), labels };
            rows.put(row(ns, id), &stored)?;
            Ok(read(id, stored))
        })
    }

    fn delete(&self, ns: &Namespace, id: &str) -> Result<()> {
        self.inner.write(|rows| if remove(rows, ns, id)? { Ok(()) } else { Err(missing(id)) })
    }

    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Lease>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Lease, &[ns.as_str()], &mut |row, bytes| {
            let [_, id, ..] = row.1;
            let lease = read(id, decode(rows.file(), row, bytes)?);
            all.extend(Some(lease).filter(|lease| filters.matches(lease)));
            Ok(true)
        })?;
        Ok(all)
    }

    fn add(&self, ns: &Namespace, id: &str, resource: &Resource) -> Result<()> {
        let kind = kind(resource)?;
        let object = Object { namespace: ns.clone(), kind, name: resource.id.clone() };
        self.inner.write(|rows| hold(rows, id, &object))
    }

    fn remove(&self, ns: &Namespace, id: &str, resource: &Resource) -> Result<()> {
        let kind = kind(resource)?;
        let object = Object { namespace: ns.clone(), kind, name: resource.id.clone() };
        self.inner.write(|rows| {
            if !rows.has(row(ns, id))? {
                return Err(missing(id));
            }
            release(rows, id, &object)
        })
    }

    fn resources(&self, ns: &Namespace, id: &str) -> Result<Vec<Resource>> {
        let rows = self.inner.read()?;
        if !rows.has(row(ns, id))? {
            return Err(missing(id));
        }
        let mut all = Vec::new();
        rows.scan(RowKind::Resource, &[ns.as_str(), id], &mut |row, _| {
            let [_, _, kind, id] = row.1;
            all.push(Resource { kind: kind.to_owned(), id: id.to_owned() });
            Ok(true)
        })?;
        Ok(all)
    }
}

/// Has the lease `id` hold an object of its namespace.
pub(crate) fn hold(rows: &mut Writing<'_>, id: &str, object: &Object) -> Result<()> {
    if !rows.has(row(&object.namespace, id))? {
        return Err(missing(id));
    }
    if let Some(resource) = object.kind.resource(&object.name) {
        let parts = [object.namespace.as_str(), id, &resource.kind, &resource.id];
        let row = Row::new(RowKind::Resource, &parts);
        // What is held already is not written again, but counts as new for a collector that began before.
        if rows.has(row)? {
            rows.touch(object.clone());
        } else {
            rows.put_empty(row)?;
        }
    }
    Ok(())
}

/// Has the lease `id` let go of an object of its namespace.
pub(crate) fn release(rows: &mut Writing<'_>, id: &str, object: &Object) -> Result<()> {
    if let Some(resource) = object.kind.resource(&object.name) {
        let parts = [object.namespace.as_str(), id, &resource.kind, &resource.id];
        rows.delete(Row::new(RowKind::Resource, &parts))?;
    }
    Ok(())
}

/// Removes a lease with what it says of others, and says whether it was there.
pub(crate) fn remove(rows: &mut Writing<'_>, ns: &Namespace, id: &str) -> Result<bool> {
    rows.delete_all(RowKind::Resource, &[ns.as_str(), id])?;
    rows.delete(row(ns, id))
}

/// What a resource is, if it is one.
fn kind(resource: &Resource) -> Result<ObjectKind> {
    let named = |what: &str| Error::Invalid(format!("a lease's resource {:?}: {what}", resource.kind));
    if resource.id.is_empty() {
        return Err(named("it has no name"));
    }
    if resource.kind == "snapshots" || resource.kind == "snapshots/" {
        return Err(named("the snapshotter is missing: snapshots/<snapshotter>"));
    }
    let kind = ObjectKind::of_resource(&resource.kind)
        .ok_or_else(|| Error::Unimplemented(format!("a lease cannot hold what is of type {:?}", resource.kind)))?;
    if kind == ObjectKind::Content {
        resource.id.parse::<Digest>().map_err(|e| named(&e.to_string()))?;
    }
    Ok(kind)
}

fn read(id: &str, stored: codec::Lease) -> Lease {
    Lease { id: id.to_owned(), created_at: codec::time(stored.created), labels: stored.labels }
}

fn row<'a>(ns: &'a Namespace, id: &'a str) -> Row<'a> {
    Row::new(RowKind::Lease, &[ns.as_str(), id])
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "lease", name: id.to_owned() }
}
