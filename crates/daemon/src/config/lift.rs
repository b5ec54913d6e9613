//! Where other versions of containerd's schema have what has one place here.

use toml::{Table, Value};

/// Places elsewhere, and where what is there is here.
const PLACES: &[(&[&str], &[&str])] = &[
    // Version 4.
    (&["plugins", "io.containerd.server.v1.grpc"], &["grpc"]),
    (&["plugins", "io.containerd.server.v1.ttrpc"], &["ttrpc"]),
    (&["plugins", "io.containerd.server.v1.debug"], &["debug"]),
    (&["plugins", "io.containerd.server.v1.metrics"], &["metrics"]),
    // Version 2.
    (&["plugins", "io.containerd.grpc.v1.cri", "registry", "config_path"], &["registry", "config_path"]),
    (&["plugins", "io.containerd.internal.v1.restart"], &["plugins", "io.containerd.monitor.container.v1.restart"]),
    // Version 3.
    (&["plugins", "io.containerd.cri.v1.images", "registry", "config_path"], &["registry", "config_path"]),
    (&["plugins", "io.containerd.transfer.v1.local", "config_path"], &["registry", "config_path"]),
];

/// Moves everything to its place here. What is in its place already counts over what is brought there.
pub(super) fn lift(table: &mut Table) {
    for (from, to) in PLACES {
        let Some(value) = remove(table, from) else { continue };
        let mut brought = nested(to, value);
        super::files::merge(&mut brought, std::mem::take(table));
        *table = brought;
    }
}

/// Where a key of a file has its place here.
pub(super) fn place(path: &[String]) -> Option<Vec<String>> {
    let (from, to) =
        PLACES.iter().find(|(from, _)| path.len() >= from.len() && path.iter().zip(*from).all(|(a, b)| a == b))?;
    let rest = path.get(from.len()..).unwrap_or_default();
    Some(to.iter().map(|key| (*key).to_owned()).chain(rest.iter().cloned()).collect())
}

/// True for a table in which there may be something that has its place elsewhere here.
pub(super) fn leads(path: &[String]) -> bool {
    PLACES.iter().any(|(from, _)| path.len() < from.len() && path.iter().zip(*from).all(|(a, b)| a == b))
}

fn remove(table: &mut Table, path: &[&str]) -> Option<Value> {
    match path {
        [] => None,
        [key] => table.remove(*key),
        [key, rest @ ..] => {
            let inner = table.get_mut(*key)?.as_table_mut()?;
            let removed = remove(inner, rest);
            // What is empty now says nothing.
            if removed.is_some() && inner.is_empty() {
                table.remove(*key);
            }
            removed
        }
    }
}

fn nested(path: &[&str], value: Value) -> Table {
    let mut table = Table::new();
    match path {
        [] => {}
        [key] => drop(table.insert((*key).to_owned(), value)),
        [key, rest @ ..] => drop(table.insert((*key).to_owned(), Value::Table(nested(rest, value)))),
    }
    table
}
