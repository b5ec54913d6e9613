//! Which crate may use which: the table in `docs/architecture.md`, held against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::build;

const TABLE: &str = "docs/architecture.md";

/// A crate and what it may use, by the last part of their names.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Checks the graph and says how many edges it has.
///
/// # Errors
/// Each edge that the table does not list, and each that it lists and nobody has.
pub fn run() -> anyhow::Result<()> {
    let metadata = build::output(build::cargo().args(["metadata", "--locked", "--no-deps", "--format-version=1"]))?;
    let actual = actual(&metadata)?;
    let table = std::fs::read_to_string(build::root().join(TABLE)).with_context(|| format!("read {TABLE}"))?;
    let permitted = permitted(&table)?;
    let complaints = compare(&actual, &permitted);
    if !complaints.is_empty() {
        bail!("the crate graph is not what {TABLE} says:\n  {}", complaints.join("\n  "));
    }
    let edges: usize = actual.values().map(BTreeSet::len).sum();
    eprintln!("crate graph: {} crates, {edges} edges, all of them in {TABLE}", actual.len());
    Ok(())
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// The edges as cargo sees them; what only tests use does not count.
fn actual(metadata: &str) -> anyhow::Result<Edges> {
    let metadata: Metadata = serde_json::from_str(metadata).context("read what cargo metadata says")?;
    let short = |name: &str| name.strip_prefix("wharf-").unwrap_or(name).to_owned();
    let used = |package: &Package| {
        let ours = package.dependencies.iter().filter(|d| d.path.is_some() && d.kind.as_deref() != Some("dev"));
        ours.map(|dependency| short(&dependency.name)).collect()
    };
    Ok(metadata.packages.iter().map(|package| (short(&package.name), used(package))).collect())
}

/// The rows of the table under the heading that speaks of permitted edges: `` | `crate` | … | `used`, `used` | ``.
fn permitted(document: &str) -> anyhow::Result<Edges> {
    let rows = document.lines().skip_while(|line| !line.contains("Permitted edges")).skip(1);
    let rows = rows.take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let ticked = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut edges = Edges::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else { continue };
        let name = ticked(first).into_iter().next().with_context(|| format!("a row without a crate: {row}"))?;
        edges.insert(name, ticked(last).into_iter().collect());
    }
    anyhow::ensure!(!edges.is_empty(), "{TABLE} has no table under \"Permitted edges\"");
    Ok(edges)
}

fn compare(actual: &Edges, permitted: &Edges) -> Vec<String> {
    let none = BTreeSet::new();
    let mut complaints = Vec::new();
    for name in actual.keys().chain(permitted.keys()).collect::<BTreeSet<_>>() {
        let (Some(used), Some(may)) = (actual.get(name), permitted.get(name)) else {
            let place = if actual.contains_key(name) { "not in the table" } else { "in the table only" };
            complaints.push(format!("crate {name} is {place}"));
            continue;
        };
        let (used, may) = (used.difference(may), may.difference(actual.get(name).unwrap_or(&none)));
        complaints.extend(used.map(|other| format!("{name} uses {other}, which the table does not permit")));
        complaints.extend(may.map(|other| format!("{name} may use {other}, and does not: remove it from the table")));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n## Permitted edges\n| crate | what | may use |\n| --- | --- | --- |\n\
        | `fetch` | registries | `types` |\n| `content` | blobs | `types` |\n| `types` | words | — |\n## B\n| `x` | `y` |\n";

    fn metadata(fetch_uses: &[&str]) -> String {
        let package = |name: &str, uses: &[&str]| {
            let uses = uses.iter().map(|name| serde_json::json!({"name": name, "kind": null, "path": "/x"}));
            serde_json::json!({"name": name, "dependencies": uses.collect::<Vec<_>>()})
        };
        let packages = [
            package("wharf-fetch", fetch_uses),
            package("wharf-content", &["wharf-types"]),
            package("wharf-types", &[]),
        ];
        serde_json::json!({"packages": packages}).to_string()
    }

    #[test]
    fn the_permitted_graph_passes() {
        let actual = actual(&metadata(&["wharf-types"])).unwrap();
        assert_eq!(compare(&actual, &permitted(DOCUMENT).unwrap()), Vec::<String>::new());
    }

    #[test]
    fn fetch_may_not_use_a_store() {
        let actual = actual(&metadata(&["wharf-types", "wharf-content"])).unwrap();
        let complaints = compare(&actual, &permitted(DOCUMENT).unwrap());
        assert_eq!(complaints, ["fetch uses content, which the table does not permit"]);
    }

    #[test]
    fn the_repositorys_own_table_keeps_fetch_and_the_stores_apart() {
        let table = std::fs::read_to_string(build::root().join(TABLE)).unwrap();
        let permitted = permitted(&table).unwrap();
        let stores = ["content", "snapshot", "metadata", "diff", "transfer"];
        assert!(stores.iter().all(|store| !permitted["fetch"].contains(*store)));
        assert!(stores[..4].iter().all(|store| !permitted[*store].contains("fetch")));
    }
}
