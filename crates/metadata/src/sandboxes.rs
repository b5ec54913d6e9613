//! Sandboxes.

use wharf_types::{Filters, Id, Namespace};

use crate::fields::{checked, set};
use crate::rows::{Row, RowKind, Rows, decode};
use crate::{Database, Error, Result, Sandbox, codec};

/// Records of sandboxes. What their labels refer to is kept while they are there.
pub trait Sandboxes: Send + Sync {
    /// One sandbox.
    ///
    /// # Errors
    /// `NotFound`.
    fn get(&self, ns: &Namespace, id: &str) -> Result<Sandbox>;
    /// All sandboxes that `filters` match (fields: `id`, `labels.*`), by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Sandbox>>;
    /// Makes a sandbox's record; its times are set here.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument`.
    fn create(&self, ns: &Namespace, sandbox: Sandbox) -> Result<Sandbox>;
    /// Changes a sandbox's record. `paths` are those of a field mask (`labels`, `labels.x`, `extensions`, `extensions.x`,
    /// `spec`, `runtime`); none replaces all of these, and the runtime's name must be what it was then.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for a path that cannot change.
    fn update(&self, ns: &Namespace, sandbox: Sandbox, paths: &[String]) -> Result<Sandbox>;
    /// Removes a sandbox's record.
    ///
    /// # Errors
    /// `NotFound`.
    fn delete(&self, ns: &Namespace, id: &str) -> Result<()>;
}

impl Sandboxes for Database {
    fn get(&self, ns: &Namespace, id: &str) -> Result<Sandbox> {
        find(&self.inner.read()?, ns, id)
    }

    fn list(&self, ns: &Namespace, filters: &Filters) -> Result<Vec<Sandbox>> {
        let rows = self.inner.read()?;
        let mut all = Vec::new();
        rows.scan(RowKind::Sandbox, &[ns.as_str()], &mut |row, bytes| {
            let [_, id, ..] = row.1;
            let sandbox = decode::<codec::Sandbox>(rows.file(), row, bytes)?.read(id);
            all.extend(Some(sandbox).filter(|sandbox| filters.matches(sandbox)));
            Ok(true)
        })?;
        Ok(all)
    }

    fn create(&self, ns: &Namespace, mut sandbox: Sandbox) -> Result<Sandbox> {
        sandbox = valid(sandbox)?;
        self.inner.write(|rows| {
            if rows.has(row(ns, &sandbox.id))? {
                return Err(Error::AlreadyExists { what: "sandbox", name: sandbox.id });
            }
            rows.ensure_namespace(ns)?;
            (sandbox.created_at, sandbox.updated_at) = (rows.now, rows.now);
            rows.put(row(ns, &sandbox.id), &codec::Sandbox::from(sandbox.clone()))?;
            Ok(sandbox)
        })
    }

    fn update(&self, ns: &Namespace, sandbox: Sandbox, paths: &[String]) -> Result<Sandbox> {
        if sandbox.id.is_empty() {
            return Err(Error::Invalid("a sandbox needs an identifier".to_owned()));
        }
        self.inner.write(|rows| {
            let mut updated = find(rows, ns, &sandbox.id)?;
            if paths.is_empty() {
                let (now, asked) = (&updated.runtime.name, &sandbox.runtime.name);
                if now != asked {
                    return Err(Error::Invalid(format!(
                        "sandbox {:?}: runtime.name is {now:?} and never changes, {asked:?} was asked for",
                        updated.id
                    )));
                }
                for path in ["labels", "extensions", "spec", "runtime"] {
                    change(&mut updated, &sandbox, path)?;
                }
            }
            for path in paths {
                change(&mut updated, &sandbox, path)?;
            }
            updated = valid(updated)?;
            updated.updated_at = rows.now;
            rows.put(row(ns, &updated.id), &codec::Sandbox::from(updated.clone()))?;
            Ok(updated)
        })
    }

    fn delete(&self, ns: &Namespace, id: &str) -> Result<()> {
        self.inner.write(|rows| if rows.delete(row(ns, id))? { Ok(()) } else { Err(missing(id)) })
    }
}

/// Takes over what a path of a field mask names.
fn change(sandbox: &mut Sandbox, from: &Sandbox, path: &str) -> Result<()> {
    match path {
        "labels" => sandbox.labels.clone_from(&from.labels),
        "extensions" => sandbox.extensions.clone_from(&from.extensions),
        "spec" => sandbox.spec.clone_from(&from.spec),
        "runtime" => sandbox.runtime.clone_from(&from.runtime),
        _ => {
            if let Some(key) = path.strip_prefix("labels.") {
                set(&mut sandbox.labels, key, &from.labels);
            } else if let Some(key) = path.strip_prefix("extensions.") {
                match from.extensions.get(key) {
                    Some(value) => drop(sandbox.extensions.insert(key.to_owned(), value.clone())),
                    None => drop(sandbox.extensions.remove(key)),
                }
            } else {
                let id = &sandbox.id;
                return Err(Error::Invalid(format!("sandbox {id:?}: there is no field {path:?} to change")));
            }
        }
    }
    Ok(())
}

fn valid(mut sandbox: Sandbox) -> Result<Sandbox> {
    sandbox.id.parse::<Id>().map_err(|e| Error::Invalid(format!("sandbox: {e}")))?;
    if sandbox.extensions.contains_key("") {
        return Err(Error::Invalid(format!("sandbox {}: an extension has an empty name", sandbox.id)));
    }
    sandbox.labels = checked("sandbox", &sandbox.id, sandbox.labels)?;
    Ok(sandbox)
}

fn find(rows: &impl Rows, ns: &Namespace, id: &str) -> Result<Sandbox> {
    let found: Option<codec::Sandbox> = rows.find(row(ns, id))?;
    found.map(|found| found.read(id)).ok_or_else(|| missing(id))
}

fn row<'a>(ns: &'a Namespace, id: &'a str) -> Row<'a> {
    Row::new(RowKind::Sandbox, &[ns.as_str(), id])
}

fn missing(id: &str) -> Error {
    Error::NotFound { what: "sandbox", name: id.to_owned() }
}
