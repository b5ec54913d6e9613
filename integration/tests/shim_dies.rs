//! Promise: a shim that is killed takes its container along and nothing else. Its end is told, everything it held goes, and its
//! name is free again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures::StreamExt as _;
use prost::Message as _;
use tokio::time::timeout;
use wharf_api::containerd::events::{TaskDelete, TaskExit};
use wharf_client::NewContainer;
use wharf_client::io::Io;
use wharf_integration::Scene;
use wharf_integration::command::sh;
use wharf_integration::stage::{STUCK, Stage, finish};
use wharf_integration::traces::{self, Traces};

/// What ends after the end was told: bundles are removed then.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn its_container_ends_and_that_is_told_and_nothing_is_left() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let word = format!("orphaned{}", std::process::id());
    let (bystander, _streams) = stage.created("bystander", "sleep 1000").await?;
    bystander.start().await?;
    let before = Traces::of(&stage.scene, &word);
    let mut events = stage.client.events(&[r#"topic~="/tasks/(exit|delete)""#]).await?;

    let container =
        stage.client.create_container(NewContainer::new(&word, &stage.image).command(["sleep", "1000"])).await?;
    let (task, _streams) = container.create_task(Io::piped()?).await?;
    task.start().await?;
    let (exec, _streams) = task.exec("beside", ["sleep", "1000"], Io::piped()?).await?;
    exec.start().await?;
    let (shim, waiter) = (shim_of(&stage.scene, &word)?, task.clone());
    let waiting = tokio::spawn(async move { waiter.wait().await });
    sh(&format!("kill -9 {shim}")).ok()?;

    let exit = loop {
        let event = timeout(STUCK, events.next()).await?.transpose()?.unwrap_or_default();
        assert_eq!(event.topic, "/tasks/exit", "the deletion is told after the exit");
        let exit = TaskExit::decode(event.event.unwrap_or_default().value.as_slice())?;
        if exit.id == exit.container_id {
            break exit;
        }
    };
    assert_eq!((exit.container_id.as_str(), exit.pid, exit.exit_status), (word.as_str(), task.pid(), 137));
    let event = timeout(STUCK, events.next()).await?.transpose()?.unwrap_or_default();
    assert_eq!(event.topic, "/tasks/delete");
    assert_eq!(TaskDelete::decode(event.event.unwrap_or_default().value.as_slice())?.exit_status, 137);
    assert_eq!(timeout(STUCK, waiting).await???.status, 137, "who waited is answered");
    container.delete().await?;
    traces::gone(&stage.scene, &word, &before, SOON).await?;
    assert_eq!(bystander.state().await?.status().as_str_name(), "RUNNING");

    let (printed, exit) = stage.run(&word, "echo again").await?;
    assert_eq!((printed.as_str(), exit.status), ("again\n", 0), "the name is free");
    Ok(())
}

/// A runtime that takes its time over creations of one name: it says that it has begun, and goes on when it may.
const SLOW: &str = "#!/bin/sh
case \" $* \" in *' create '*half*)
    here=${0%/*}; echo $$ > \"$here/begun.new\"; mv \"$here/begun.new\" \"$here/begun\"
    until [ -e \"$here/go\" ]; do sleep 0.01; done;;
esac
PATH=${PATH#*:} exec runc \"$@\"
";

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_creation_it_leaves_nothing_that_goes_on() -> anyhow::Result<()> {
    let scene = Scene::with(|daemon, folder| {
        let bin = folder.join("bin");
        std::fs::create_dir(&bin)?;
        std::fs::write(bin.join("runc"), SLOW)?;
        std::fs::set_permissions(bin.join("runc"), std::fs::Permissions::from_mode(0o755))?;
        Ok(daemon.path(&bin))
    })?;
    let stage = Stage::of(scene).await?;
    // The first container brings the directories that all of them share.
    stage.run("first", "true").await?;
    let at = |name: &str| stage.scene.folder().join("bin").join(name);
    let word = format!("half{}", std::process::id());
    let before = Traces::of(&stage.scene, &word);
    let container = stage.client.create_container(NewContainer::new(&word, &stage.image).command(["true"])).await?;
    let creating = {
        let container = container.clone();
        tokio::spawn(async move { container.create_task(Io::null()).await.map(drop) })
    };
    until(|| at("begun").exists()).await?;
    sh(&format!("kill -9 {}", shim_of(&stage.scene, &word)?)).ok()?;
    // Whoever cleans up is at work before the runtime goes on.
    until(|| sh(&format!("pgrep -f 'containerd-shim.*{word}.*delete'")).status == 0).await?;
    std::fs::write(at("go"), "")?;
    assert!(timeout(STUCK, creating).await??.is_err(), "the creation has lost its shim");
    let runtime = std::fs::read_to_string(at("begun"))?;
    until(|| !Path::new("/proc").join(runtime.trim()).exists()).await?;
    container.delete().await?;
    std::fs::remove_file(at("begun"))?;
    traces::gone(&stage.scene, &word, &before, SOON).await?;

    let (task, streams) = stage.created(&word, "echo again").await?;
    assert_eq!(finish(&task, streams).await?.0, "again\n");
    Ok(())
}

fn shim_of(scene: &Scene, id: &str) -> anyhow::Result<u32> {
    let record = std::fs::read(scene.bundle(id).join("shim.json"))?;
    let record: serde_json::Value = serde_json::from_slice(&record)?;
    let pid = record["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| anyhow::anyhow!("no pid in {record}"))
}

/// Waits until something is so.
async fn until(mut so: impl FnMut() -> bool) -> anyhow::Result<()> {
    timeout(STUCK, async {
        while !so() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await?;
    Ok(())
}
