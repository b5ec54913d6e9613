//! What is mounted for clients.

use wharf_types::{Filters, Namespace};

use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Activation, Database, Error, Object, ObjectKind, Result, codec, leases};

/// Records of what is mounted for clients. One is kept while its lease is, or what its labels `containerd.io/gc.bref.…` name.
pub trait Activations: Send + Sync {
    /// One activation.
    ///
    /// # Errors
    /// `NotFound`.
    fn get(&self, ns: &Namespace, name: &str) -> Result<Activation>;
    /// All activations that `filters` match (fields: `name`, `labels.*`), by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Activation>>;
    /// The activations of all namespaces.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn all(&self) -> Result<Vec<(Namespace, Activation)>>;
    /// Makes the record of an activation; its time is set here.
    ///
    /// # Errors
    /// `AlreadyExists`; `NotFound` for a lease that there is not; `InvalidArgument`.
    fn create(&self, ns: &Namespace, activation: Activation) -> Result<Activation>;
    /// Removes the record of an activation.
    ///
    /// # Errors
    /// `NotFound`.
    fn delete(&self, ns: &Namespace, name: &str) -> Result<()>;
    /// A number that no activation has had.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn number(&self) -> Result<u64>;
}

impl Activations for Database {
    fn get(&self, ns: &Namespace, name: &str) -> Result<Activation> {
        let found: Option<codec::Activation> = self.inner.read()?.find(row(ns, name))?;
        found.map(|found| found.read(name)).ok_or_else(|| missing(name))
    }

    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Activation>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Mount, &[ns.as_str()], &mut |row, bytes| {
            let [_, name, ..] = row.1;
            let found = decode::<codec::Activation>(rows.file(), row, bytes)?.read(name);
            all.extend(Some(found).filter(|found| filters.matches(found)));
            Ok(true)
        })?;
        Ok(all)
    }

    fn all(&self) -> Result<Vec<(Namespace, Activation)>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Mount, &[], &mut |row, bytes| {
            if let Some(object) = row.object() {
                let found = decode::<codec::Activation>(rows.file(), row, bytes)?.read(&object.name);
                all.push((object.namespace, found));
            }
            Ok(true)
        })?;
        Ok(all)
    }

    fn create(&self, ns: &Namespace, mut activation: Activation) -> Result<Activation> {
        if activation.name.is_empty() {
            return Err(Error::Invalid("a mount needs a name".to_owned()));
        }
        activation.labels = checked("mount", &activation.name, activation.labels)?;
        self.inner.write(|rows| {
            if rows.has(row(ns, &activation.name))? {
                return Err(Error::AlreadyExists { what: "mount", name: activation.name });
            }
            let object = Object { namespace: ns.clone(), kind: ObjectKind::Mount, name: activation.name.clone() };
            if let Some(lease) = &activation.lease {
                leases::hold(rows, lease, &object)?;
            }
            rows.ensure_namespace(ns)?;
            activation.created_at = rows.now;
            rows.put(row(ns, &activation.name), &codec::Activation::from(activation.clone()))?;
            Ok(activation)
        })
    }

    fn delete(&self, ns: &Namespace, name: &str) -> Result<()> {
        self.inner.write(|rows| if rows.delete(row(ns, name))? { Ok(()) } else { Err(missing(name)) })
    }

    fn number(&self) -> Result<u64> {
        self.inner.number()
    }
}

fn row<'a>(ns: &'a Namespace, name: &'a str) -> Row<'a> {
    Row::new(RowKind::Mount, &[ns.as_str(), name])
}

fn missing(name: &str) -> Error {
    Error::NotFound { what: "mount", name: name.to_owned() }
}
