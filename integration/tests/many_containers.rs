//! Promise: what has gone has gone. After a hundred containers at once and two hundred processes beside one, no process, mount,
//! cgroup, fifo or file of theirs is left.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::time::timeout;
use wharf_client::io::Io;
use wharf_client::{Client, Image, NewContainer};
use wharf_integration::stage::{STUCK, Stage, finish};
use wharf_integration::traces::{self, Traces};

/// How many containers there are, and how many are made or removed at a time.
const CONTAINERS: usize = 100;
const ABREAST: usize = 8;
/// How many processes are run beside one container's.
const EXECS: usize = 200;
/// What the last shims may take to end after their containers' deletion was answered.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_leave_nothing() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let word = format!("many{}x", std::process::id());
    // The first container brings the directories that all of them share.
    stage.run("first", "true").await?;
    let before = Traces::of(&stage.scene, &word);
    let (client, image) = (stage.client.clone(), Arc::new(stage.image.clone()));
    let names: Vec<String> = (0..CONTAINERS).map(|number| format!("{word}{number}")).collect();

    let each = |name: &String| begin(client.clone(), image.clone(), name.clone());
    let begun: Vec<_> = stream::iter(&names).map(each).buffer_unordered(ABREAST).collect().await;
    for result in begun {
        result?;
    }
    assert_eq!(stage.scene.daemon.shims().len(), CONTAINERS);
    let each = |name: &String| end(client.clone(), name.clone());
    let ended: Vec<_> = stream::iter(&names).map(each).buffer_unordered(ABREAST).collect().await;
    for result in ended {
        result?;
    }
    traces::gone(&stage.scene, &word, &before, SOON).await
}

async fn begin(client: Client, image: Arc<Image>, name: String) -> anyhow::Result<()> {
    let new = NewContainer::new(&name, &image).command(["sleep", "1000"]);
    // The fifos go at once; the container goes on without them.
    let (task, _streams) = client.create_container(new).await?.create_task(Io::piped()?.with_stdin()).await?;
    task.start().await?;
    Ok(())
}

async fn end(client: Client, name: String) -> anyhow::Result<()> {
    let container = client.container(&name).await?;
    let task = container.task().await?;
    task.kill(9, true).await?;
    assert_eq!(timeout(STUCK, task.wait()).await??.status, 137, "{name}");
    task.delete().await?;
    container.delete().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_execs_leave_nothing_but_their_container() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let word = format!("execs{}x", std::process::id());
    let (task, _streams) = stage.created(&word, "sleep 1000").await?;
    task.start().await?;
    let shim = stage.scene.daemon.shims();
    let descriptors = || {
        shim.iter()
            .map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or(0))
            .sum::<usize>()
    };
    // The first one brings what all of them share.
    exec(&task, 0).await?;
    let (before, open) = (Traces::of(&stage.scene, &word), descriptors());
    let all: Vec<_> =
        stream::iter(1..=EXECS).map(|number| exec(&task, number)).buffer_unordered(ABREAST).collect().await;
    for result in all {
        result?;
    }
    // What is on the way when the last answer comes, such as its connection to the daemon, goes by itself.
    traces::gone(&stage.scene, &word, &before, SOON).await?;
    timeout(STUCK, async {
        while descriptors() > open {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .map_err(|_| anyhow::anyhow!("the shim holds {} descriptors, and held {open} before", descriptors()))?;
    Ok(())
}

async fn exec(task: &wharf_client::Task, number: usize) -> anyhow::Result<()> {
    let script = format!("echo {number}; exit {}", number % 256);
    let (exec, streams) = task.exec(&format!("exec-{number}"), ["sh", "-c", &script], Io::piped()?).await?;
    let (printed, exit) = timeout(STUCK, finish(&exec, streams)).await??;
    assert_eq!((printed, exit.status as usize), (format!("{number}\n"), number % 256));
    Ok(())
}
