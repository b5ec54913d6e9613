//! Promise: a container whose labels ask for it is started again when it ends, as often as its policy says, whoever started it
//! first; one that should be stopped is.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use prost::Message as _;
use wharf_api::containerd::events::TaskExit;
use wharf_client::NewContainer;
use wharf_client::io::Io;
use wharf_integration::Scene;
use wharf_integration::stage::{STUCK, Stage};

const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
const COUNT: &str = "containerd.io/restart.count";

/// A stage whose daemon looks often.
async fn stage() -> anyhow::Result<Stage> {
    let scene = Scene::with(|daemon, folder| {
        let config = folder.join("config.toml");
        let text = "version = 3\n[plugins.'io.containerd.monitor.container.v1.restart']\ninterval = '100ms'\n";
        std::fs::write(&config, text)?;
        Ok(daemon.argument("--config").argument(config.display().to_string()))
    })?;
    Stage::of(scene).await
}

/// Runs a container that ends by itself, and leaves it to the daemon.
async fn run(stage: &Stage, id: &str, script: &str, policy: &str) -> anyhow::Result<()> {
    let new = NewContainer::new(id, &stage.image).command(["sh", "-c", script]);
    let container = stage.client.create_container(new.label(STATUS, "running").label(POLICY, policy)).await?;
    let (task, _) = container.create_task(Io::null()).await?;
    task.start().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_followed() -> anyhow::Result<()> {
    let stage = stage().await?;
    let mut exits = stage.client.events(&[r#"topic=="/tasks/exit""#]).await?;
    run(&stage, "thrice", "exit 3", "on-failure:2").await?;
    run(&stage, "once", "exit 0", "on-failure").await?;
    run(&stage, "never", "exit 3", "no").await?;
    run(&stage, "ever", "exit 0", "always").await?;
    let mut seen = BTreeMap::<String, u32>::new();
    // The one that comes back for ever is the clock for those that should not.
    while seen.get("ever").is_none_or(|ends| *ends < 8) {
        let event = tokio::time::timeout(STUCK, exits.next()).await?.expect("the events go on")?;
        let exit = TaskExit::decode(event.event.unwrap_or_default().value.as_slice())?;
        *seen.entry(exit.container_id).or_default() += 1;
    }
    seen.remove("ever");
    let expected = [("never", 1), ("once", 1), ("thrice", 3)].map(|(id, ends)| (id.to_owned(), ends));
    assert_eq!(seen, BTreeMap::from(expected));
    let info = stage.scene.ctr(["containers", "info", "thrice"]).ok()?;
    assert!(info.contains(&format!("\"{COUNT}\": \"2\"")), "{info}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_should_be_stopped_is() -> anyhow::Result<()> {
    let stage = stage().await?;
    let mut ends = stage.client.events(&[r#"topic=="/tasks/delete""#]).await?;
    run(&stage, "busy", "sleep 1000", "always").await?;
    stage.scene.ctr(["containers", "label", "busy", &format!("{STATUS}=stopped")]).ok()?;
    let event = tokio::time::timeout(STUCK, ends.next()).await?.expect("the events go on")?;
    assert_eq!(event.topic, "/tasks/delete");
    assert_eq!(stage.scene.ctr(["tasks", "ls", "-q"]).ok()?.trim(), "");
    Ok(())
}
