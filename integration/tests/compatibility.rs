//! Promise: `docs/compatibility.md` says the truth. Every method of the API has a row; what is not built answers `Unimplemented` with a
//! sentence, and nothing else does; the tests that the page names exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::{Code, Status};
use wharf_integration::Scene;
use wharf_integration::raw::{call, channel, methods};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page's rows: a method, and whether it is built; nothing for one that is in part.
fn rows() -> anyhow::Result<BTreeMap<String, Option<bool>>> {
    let page = std::fs::read_to_string(root().join("docs/compatibility.md"))?;
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let methods = rows.filter(|(method, _)| method.contains(".v1.") && method.contains('/'));
    let built = |rest: &str| match rest.split(" |").next() {
        Some("works") => Ok(Some(true)),
        Some("in part") => Ok(None),
        Some("not built") => Ok(Some(false)),
        state => anyhow::bail!("{state:?} is no state"),
    };
    methods.map(|(method, rest)| Ok((method.to_owned(), built(rest)?))).collect()
}

#[test]
fn every_method_has_a_row() -> anyhow::Result<()> {
    let (rows, methods) = (rows()?, methods()?);
    assert!(methods.len() > 80, "only {} methods were read", methods.len());
    let missing: Vec<_> = methods.iter().filter(|method| !rows.contains_key(*method)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    Ok(())
}

#[test]
fn the_tests_that_are_named_exist() -> anyhow::Result<()> {
    let page = std::fs::read_to_string(root().join("docs/compatibility.md"))?;
    let named = page.split('`').skip(1).step_by(2).filter(|name| name.contains("/tests"));
    for name in named {
        assert!(root().join(name).exists(), "{name} is named and does not exist");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_says_so_and_nothing_else_does() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let channel = channel(&scene).await?;
    for (method, built) in rows()? {
        // A subscription that is built says nothing until something happens.
        let answer = tokio::time::timeout(Duration::from_secs(3), call(&channel, &method, Vec::new())).await;
        let status = answer.ok().and_then(Result::err).unwrap_or_else(|| Status::ok(""));
        let unimplemented = status.code() == Code::Unimplemented;
        assert!(built.is_none_or(|built| built != unimplemented), "{method}: {status:?}");
        assert!(!unimplemented || status.message().contains(' '), "{method} has no sentence: {status:?}");
    }
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
    Ok(())
}
