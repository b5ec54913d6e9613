//! Promise: whenever the daemon dies while containers begin and end, no exit is lost, no container is stuck, and nothing is left
//! once they are deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::timeout;
use wharf_api::containerd::services::containers::v1::ListContainersRequest;
use wharf_api::containerd::services::tasks::v1::ListTasksRequest;
use wharf_api::containerd::v1::types::Status;
use wharf_client::io::Io;
use wharf_client::{Client, Image, NewContainer};
use wharf_integration::stage::{STUCK, Stage};
use wharf_integration::traces::{self, Traces};
use wharf_types::{ErrorKind, Kind as _};

const ROUNDS: usize = 20;
/// Who make and end containers side by side.
const WORKERS: usize = 3;
/// What shims may take to end after the last deletion.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn no_exit_is_lost_and_nothing_is_stuck_or_left() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let word = format!("random{}x", std::process::id());
    // The first container brings the directories that all of them share.
    stage.run("first", "true").await?;
    let before = Traces::of(&stage.scene, &word);
    for round in 0..ROUNDS {
        let over = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let name = format!("{word}{round}-{worker}-");
                tokio::spawn(work(stage.client.clone(), stage.image.clone(), name, over.clone()))
            })
            .collect();
        let moment = rand::rng().random_range(5..400);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        stage.scene.daemon.crash();
        over.store(true, Ordering::Relaxed);
        for worker in workers {
            let worked = timeout(STUCK, worker).await;
            assert!(matches!(worked, Ok(Ok(Ok(())))), "round {round}: {worked:?}\n{}", stage.scene.daemon.log());
        }
        stage.scene.daemon.start()?;
        stage.client = stage.scene.client().await?;
        stage.image = stage.client.image(&stage.registry.reference("busybox:latest"), "overlayfs").await?;
        let settled = timeout(STUCK, settle(&stage.client, moment)).await;
        assert!(matches!(settled, Ok(Ok(()))), "round {round}: {settled:?}\n{}", stage.scene.daemon.log());
    }
    traces::gone(&stage.scene, &word, &before, SOON).await
}

/// Makes containers whose exit status is known, until the daemon goes.
async fn work(client: Client, image: Image, name: String, over: Arc<AtomicBool>) -> anyhow::Result<()> {
    for number in 0.. {
        match one(&client, &image, &format!("{name}{number}"), number % 200 + 1).await {
            Ok(()) => {}
            Err(error) => {
                // Anything may fail once the daemon is gone, and nothing before.
                for _ in 0..100 {
                    if over.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn one(client: &Client, image: &Image, name: &str, status: u32) -> anyhow::Result<()> {
    let script = format!("exit {status}");
    let new = NewContainer::new(name, image).command(["sh", "-c", &script]).label("status", &status.to_string());
    let container = client.create_container(new).await?;
    let (task, _streams) = container.create_task(Io::piped()?).await?;
    task.start().await?;
    assert_eq!(task.wait().await?.status, status, "{name}");
    task.delete().await?;
    container.delete().await?;
    Ok(())
}

/// Every container that is left has a task that tells the truth, or none, and can be deleted either way.
async fn settle(client: &Client, moment: u64) -> anyhow::Result<()> {
    let records = client.containers().list(ListContainersRequest::default()).await?.into_inner().containers;
    for record in records {
        let (id, label) = (record.id, record.labels.get("status").cloned().unwrap_or_default());
        let container = client.container(&id).await?;
        let task = match container.task().await {
            Ok(task) => Some(task),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        if let Some(task) = task {
            let state = task.state().await?;
            if state.status() == Status::Created {
                task.kill(9, false).await?;
            } else {
                let exit = task.wait().await?;
                assert_eq!(exit.status.to_string(), label, "{id}, the daemon killed after {moment} ms");
            }
            task.delete().await?;
        }
        container.delete().await?;
    }
    let tasks = client.tasks().list(ListTasksRequest::default()).await?.into_inner().tasks;
    anyhow::ensure!(tasks.is_empty(), "without a container: {tasks:?}");
    Ok(())
}
