//! Which keys are known. Those of containerd that need nothing done here are known too, so that its files warn of little.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;

/// Keys of containerd's that are taken without a word: what they would switch is not here, or is always so. And tables
/// whose keys are names that the user chooses.
const QUIET: &[&str] = &[
    "debug.address",
    "debug.gid",
    "debug.uid",
    "disabled_plugins",
    "grpc.max_send_message_size",
    "grpc.tcp_address",
    "grpc.tcp_tls_ca",
    "grpc.tcp_tls_cert",
    "grpc.tcp_tls_key",
    "imports",
    "metrics",
    "oom_score",
    "plugin_dir",
    "plugins",
    "proxy_plugins",
    "required_plugins",
    "runtimes",
    "stream_processors",
    "temp",
    "timeouts",
];

/// The keys in `text` that mean nothing, each with the byte where it stands.
///
/// # Errors
/// When `text` is no TOML.
pub(super) fn unknown(text: &str) -> Result<Vec<(usize, String)>, toml::de::Error> {
    let mut found = Vec::new();
    // What can be written can be read: the default names every key.
    let known = toml::Table::try_from(Config::default()).unwrap_or_default();
    walk(DeTable::parse(text)?.get_ref(), &known, "", &mut found);
    found.sort();
    Ok(found)
}

fn walk(table: &DeTable<'_>, known: &toml::Table, above: &str, found: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        let path = if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
        match (known.get(key.get_ref().as_ref()), value.get_ref()) {
            (Some(toml::Value::Table(known)), DeValue::Table(inner)) => walk(inner, known, &path, found),
            (Some(_), _) => {}
            (None, _) if quiet(&path) => {}
            (None, _) => found.push((key.span().start, path)),
        }
    }
}

/// True for what stands in [`QUIET`], and below it.
fn quiet(path: &str) -> bool {
    QUIET.iter().any(|quiet| path.strip_prefix(quiet).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The line, from 1, of the first key of this name.
pub(super) fn line_of(text: &str, name: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let at = find(table.get_ref(), name)?;
    Some(super::read::line_of(text, at))
}

fn find(table: &DeTable<'_>, name: &str) -> Option<usize> {
    table.iter().find_map(|(key, value): (_, &Spanned<DeValue<'_>>)| match value.get_ref() {
        _ if key.get_ref().as_ref() == name => Some(key.span().start),
        DeValue::Table(inner) => find(inner, name),
        _ => None,
    })
}
