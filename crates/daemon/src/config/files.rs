//! Which files there are: the main one, its drop-ins, and what each imports; and how they become one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::read::{Error, wrong};

/// Where the file is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/wharf/config.toml";

/// The directory of drop-ins, beside the main file.
const DROP_INS: &str = "conf.d";

/// How many files may be read: more are a pattern that matches what it should not.
const MOST: usize = 256;

/// A file as it was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) table: Table,
}

/// All files in the order in which they count: a later one over an earlier one. Each import counts over the file that names
/// it, drop-ins over all of that.
pub(super) fn all(path: Option<&Path>) -> Result<Vec<Source>, Error> {
    let (main, named) = (path.unwrap_or(Path::new(DEFAULT_PATH)), path.is_some());
    let mut found = Vec::new();
    match fs::symlink_metadata(main) {
        Err(error) if error.kind() == ErrorKind::NotFound && !named => {}
        _ => take(main, &mut found)?,
    }
    let drop_ins = main.parent().unwrap_or(Path::new("/")).join(DROP_INS).join("*.toml");
    for path in matching(&drop_ins)? {
        take(&path, &mut found)?;
    }
    Ok(found)
}

/// Reads a file and what it imports. One that was read already is not read again, whoever names it.
fn take(path: &Path, found: &mut Vec<Source>) -> Result<(), Error> {
    let path = std::path::absolute(path).map_err(|source| Error::Read { path: path.display().to_string(), source })?;
    if found.iter().any(|source| same(&source.path, &path)) {
        return Ok(());
    }
    if found.len() == MOST {
        let source = std::io::Error::other(format!("it is one more than the {MOST} files that are read"));
        return Err(Error::Read { path: path.display().to_string(), source });
    }
    let source = source(&path)?;
    let imports = source.table.get("imports").and_then(Value::as_array).cloned().unwrap_or_default();
    found.push(source);
    for import in imports.iter().filter_map(Value::as_str) {
        let pattern = path.parent().unwrap_or(Path::new("/")).join(import);
        for path in matching(&pattern)? {
            take(&path, found)?;
        }
    }
    Ok(())
}

/// True for two names of one file.
fn same(one: &Path, other: &Path) -> bool {
    let file = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    file(one) == file(other)
}

fn source(path: &Path) -> Result<Source, Error> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Error::Read { path: path.display().to_string(), source })?;
    let table = text.parse().map_err(|error| wrong(path, &text, &error))?;
    Ok(Source { path: path.to_owned(), text, table })
}

/// The files that a pattern means, by name: `*` and `?` in its last part. A name without them has to be there.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, Error> {
    let name = pattern.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains(['*', '?']) {
        return Ok(vec![pattern.to_owned()]);
    }
    let directory = pattern.parent().unwrap_or(Path::new("/"));
    let failed = |source| Error::Read { path: directory.display().to_string(), source };
    let entries = match fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let file = entry.file_name();
        // What begins with a point is hidden from patterns, as in a shell.
        if matches(&name, &file.to_string_lossy()) && !file.to_string_lossy().starts_with('.') && entry.path().is_file()
        {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// True when `name` is one that `pattern` means.
fn matches(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = pattern.get(first.len_utf8()..).unwrap_or_default();
    match (first, name.chars().next()) {
        ('*', _) => name
            .char_indices()
            .map(|(at, _)| at)
            .chain([name.len()])
            .any(|at| name.get(at..).is_some_and(|name| matches(rest, name))),
        ('?', Some(any)) => matches(rest, name.get(any.len_utf8()..).unwrap_or_default()),
        (first, Some(same)) if first == same => matches(rest, name.get(same.len_utf8()..).unwrap_or_default()),
        _ => false,
    }
}

/// Puts `over` over `under`: tables become one, lists of plugins and imports grow, everything else is replaced.
pub(super) fn merge(under: &mut Table, over: Table) {
    const GROW: &[&str] = &["imports", "required_plugins", "disabled_plugins"];
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (Some(Value::Array(under)), Value::Array(over)) if GROW.contains(&key.as_str()) => {
                let new: Vec<_> = over.into_iter().filter(|value| !under.contains(value)).collect();
                under.extend(new);
            }
            (_, value) => drop(under.insert(key, value)),
        }
    }
}
