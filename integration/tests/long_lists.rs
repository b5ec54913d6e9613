//! Promise: a list that is too long for one message is refused with a word about it, and streamed whole.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::Code;
use wharf_api::containerd::services::containers::v1 as api;
use wharf_integration::Scene;

/// Together they are more than the 16 MiB of a message.
const CONTAINERS: usize = 600;
const SPECIFICATION: usize = 32 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn containers() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let client = scene.client().await?;
    let create = |number: usize| {
        let client = client.clone();
        async move {
            let runtime = api::container::Runtime { name: "io.containerd.runc.v2".to_owned(), options: None };
            let spec = prost_types::Any { type_url: "x".to_owned(), value: vec![b' '; SPECIFICATION] };
            let container = api::Container {
                id: format!("c{number:04}"),
                runtime: Some(runtime),
                spec: Some(spec),
                ..api::Container::default()
            };
            client.containers().create(api::CreateContainerRequest { container: Some(container) }).await
        }
    };
    stream::iter(0..CONTAINERS).map(create).buffer_unordered(32).try_for_each(|_| async { Ok(()) }).await?;
    let whole = client.containers().list(api::ListContainersRequest::default()).await;
    let whole = whole.expect_err("it went into one message");
    assert!(matches!(whole.code(), Code::OutOfRange | Code::ResourceExhausted), "{whole:?}");
    let streamed = client.containers().list_stream(api::ListContainersRequest::default()).await?.into_inner();
    let mut ids: Vec<_> = streamed.map_ok(|page| page.container.unwrap_or_default().id).try_collect().await?;
    ids.sort();
    assert_eq!(ids, (0..CONTAINERS).map(|number| format!("c{number:04}")).collect::<Vec<_>>());
    // One that is given up midway costs nobody anything.
    let given_up = client.containers().list_stream(api::ListContainersRequest::default()).await?.into_inner();
    drop(given_up);
    client.version().await?;
    Ok(())
}
