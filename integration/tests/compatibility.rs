//! Promise: `docs/compatibility.md` says the truth. Every method of the API has a row; what is not built answers `Unimplemented` with a
//! sentence, and nothing else does; the tests that the page names exist.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use wharf_integration::Scene;

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

/// The methods of the API, by the wire facts.
fn methods() -> anyhow::Result<Vec<String>> {
    let facts = std::fs::read_to_string(root().join("proto/wire/containerd-api.txt"))?;
    let (mut methods, mut service) = (Vec::new(), "");
    for line in facts.lines() {
        match line.strip_prefix("service ") {
            Some(name) => service = name,
            None if !line.starts_with("  ") => service = "",
            None if service.starts_with("containerd.services.") && !service.contains("ttrpc") => {
                methods.push(format!("{service}/{}", line.trim().split('\t').next().unwrap_or_default()));
            }
            None => {}
        }
    }
    Ok(methods)
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

/// Calls a method with an empty message, whatever its messages are, and returns its status.
async fn call(channel: &Channel, method: &str) -> anyhow::Result<Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let mut request = Request::new(tokio_stream::iter([()]));
    request.metadata_mut().insert("containerd-namespace", "default".parse()?);
    let path = format!("/{method}").parse()?;
    let answer = grpc.streaming(request, path, ProstCodec::<(), ()>::default()).await;
    let outcome = match answer {
        Err(status) => Err(status),
        Ok(answer) => answer.into_inner().message().await,
    };
    Ok(outcome.err().unwrap_or_else(|| Status::ok("")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_built_says_so_and_nothing_else_does() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let address = scene.daemon.address();
    let connector = tower::service_fn(move |_| {
        let address = address.clone();
        async move { tokio::net::UnixStream::connect(address).await.map(hyper_util::rt::TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await?;
    for (method, built) in rows()? {
        // A subscription that is built says nothing until something happens.
        let answer = tokio::time::timeout(Duration::from_secs(3), call(&channel, &method)).await;
        let status = answer.unwrap_or_else(|_| Ok(Status::ok("")))?;
        let unimplemented = status.code() == Code::Unimplemented;
        assert!(built.is_none_or(|built| built != unimplemented), "{method}: {status:?}");
        assert!(!unimplemented || status.message().contains(' '), "{method} has no sentence: {status:?}");
    }
    assert!(!scene.daemon.log().contains("panicked"), "{}", scene.daemon.log());
    Ok(())
}
