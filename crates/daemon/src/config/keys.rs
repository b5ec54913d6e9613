//! Which keys are known. Those of containerd that need nothing done here are known too, so that its files warn of little.

use toml::de::{DeTable, DeValue};

use super::{Config, ProxyKind, ProxyPlugin, Unpack, lift};

/// Keys of containerd's that are taken without a word: what they would switch is not here, or is always so. And tables
/// whose keys are names that the user chooses.
const QUIET: &[&str] = &[
    "debug.address",
    "debug.gid",
    "debug.uid",
    "grpc.max_send_message_size",
    "grpc.tcp_address",
    "grpc.tcp_tls_ca",
    "grpc.tcp_tls_cert",
    "grpc.tcp_tls_common_name",
    "grpc.tcp_tls_key",
    "metrics",
    "oom_score",
    "plugin_dir",
    "plugins.cgroups",
    "plugins.cri",
    "plugins.io.containerd",
    "plugins.linux",
    "proxy_plugins",
    "runtimes",
    "stream_processors",
    "temp",
    "timeouts.io.containerd",
    "ttrpc.max_recv_message_size",
    "ttrpc.max_send_message_size",
];

/// The keys in `text` that mean nothing, each with the byte where it stands.
///
/// # Errors
/// When `text` is no TOML.
pub(super) fn unknown(text: &str) -> Result<Vec<(usize, String)>, toml::de::Error> {
    let mut found = Vec::new();
    // What can be written can be read: the default names every key.
    let known = toml::Table::try_from(Config::default()).unwrap_or_default();
    walk(DeTable::parse(text)?.get_ref(), &known, &mut Vec::new(), &mut found);
    found.sort();
    Ok(found)
}

fn walk(table: &DeTable<'_>, known: &toml::Table, above: &mut Vec<String>, found: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        above.push(key.get_ref().to_string());
        let path = above.join(".");
        let inner = match value.get_ref() {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        };
        match (look_up(known, above), inner) {
            (Some(toml::Value::Table(_)), Some(inner)) if above.as_slice() == ["proxy_plugins"] => {
                for (name, plugin) in inner.iter() {
                    if let DeValue::Table(plugin) = plugin.get_ref() {
                        above.push(name.get_ref().to_string());
                        plugin_keys(plugin, above, found);
                        above.pop();
                    }
                }
            }
            (Some(_), _) if path == "runtimes" => {}
            (Some(toml::Value::Table(_)), Some(inner)) => walk(inner, known, above, found),
            (Some(toml::Value::Array(_)), None) if path.ends_with(".unpack_config") => {
                unpack_keys(value.get_ref(), &path, found)
            }
            (Some(_), _) => {}
            // The way to a place that has another name here.
            (None, Some(inner)) if lift::leads(above) => walk(inner, known, above, found),
            (None, _) if is_quiet(known, above) => {}
            (None, _) => found.push((key.span().start, path)),
        }
        above.pop();
    }
}

/// What is known of a key, where it stands or where it has its place here.
fn look_up<'a>(known: &'a toml::Table, path: &[String]) -> Option<&'a toml::Value> {
    let find = |path: &[String]| {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(known.get(first)?, |value, key| value.as_table()?.get(key))
    };
    find(path).or_else(|| find(&lift::place(path)?))
}

fn plugin_keys(plugin: &DeTable<'_>, above: &[String], found: &mut Vec<(usize, String)>) {
    let sample = ProxyPlugin {
        kind: ProxyKind::Snapshot,
        address: "/".into(),
        namespace: String::new(),
        platform: String::new(),
        exports: std::collections::BTreeMap::default(),
        capabilities: Vec::new(),
    };
    let known = toml::Table::try_from(sample).unwrap_or_default();
    let odd = plugin.iter().filter(|(key, _)| !known.contains_key(key.get_ref().as_ref()));
    found.extend(odd.map(|(key, _)| (key.span().start, format!("{}.{}", above.join("."), key.get_ref()))));
}

fn unpack_keys(list: &DeValue<'_>, path: &str, found: &mut Vec<(usize, String)>) {
    /// What containerd knows besides, and always means here.
    const MORE: &[&str] = &["differ"];
    let known = toml::Table::try_from(Unpack::default()).unwrap_or_default();
    let DeValue::Array(list) = list else { return };
    for entry in list.iter() {
        let DeValue::Table(entry) = entry.get_ref() else { continue };
        let odd = |key: &str| !known.contains_key(key) && !MORE.contains(&key);
        let odd = entry.iter().filter(|(key, _)| odd(key.get_ref().as_ref()));
        found.extend(odd.map(|(key, _)| (key.span().start, format!("{path}.{}", key.get_ref()))));
    }
}

/// True for a key that is not known and need not be.
fn is_quiet(known: &toml::Table, path: &[String]) -> bool {
    let place = lift::place(path);
    let path = place.as_deref().unwrap_or(path);
    // Of a plugin that is here every key counts.
    let plugin = path.first().is_some_and(|first| first == "plugins") && path.len() > 2;
    let here = plugin && path.get(..2).is_some_and(|plugin| look_up(known, plugin).is_some());
    !here && quiet(&path.join("."))
}

/// True for what stands in [`QUIET`], and below it.
fn quiet(path: &str) -> bool {
    QUIET.iter().any(|quiet| path.strip_prefix(quiet).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The line, from 1, of a key, wherever the file has what has this place here.
pub(super) fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let at = find(table.get_ref(), path, &mut Vec::new())?;
    Some(super::read::line_of(text, at))
}

fn find(table: &DeTable<'_>, wanted: &[&str], above: &mut Vec<String>) -> Option<usize> {
    for (key, value) in table {
        above.push(key.get_ref().to_string());
        let here = lift::place(above).is_some_and(|place| place == wanted) || above.as_slice() == wanted;
        let found = match value.get_ref() {
            _ if here => Some(key.span().start),
            DeValue::Table(inner) => find(inner, wanted, above),
            _ => None,
        };
        above.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}
