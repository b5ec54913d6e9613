//! Promise: a container is not tied to the daemon's life. With 20 running, `kill -9` of the daemon changes nothing for them, and
//! nothing about those that end meanwhile is lost.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use prost::Message as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;
use wharf_api::containerd::events::TaskExit;
use wharf_api::containerd::services::tasks::v1::ListTasksRequest;
use wharf_api::containerd::v1::types::Status;
use wharf_client::io::{Io, Streams};
use wharf_client::{Client, Task};
use wharf_integration::command::sh;
use wharf_integration::stage::{STUCK, Stage};

/// Containers that run on, of them one that writes.
const LASTING: usize = 15;
/// The exit statuses of those that end while the daemon is away.
const STATUSES: [u32; 5] = [0, 1, 7, 42, 255];
/// What the writer writes: so many blocks of 10 kB, each numbered, a hundred a second.
const BLOCKS: usize = 400;

/// Writes a hundred numbered blocks a second, 1 MB/s, and says how long the slowest write took, in centiseconds of uptime.
const WRITER: &str = "i=0; slowest=0; filler=$(head -c 9988 /dev/zero | tr '\\0' x)
    while [ $i -lt 400 ]; do
      read before _ < /proc/uptime
      printf '%010d %s\\n' $i \"$filler\"
      read after _ < /proc/uptime
      took=$(( ${after%.*}${after#*.} - ${before%.*}${before#*.} ))
      [ $took -gt $slowest ] && slowest=$took
      i=$((i + 1)); usleep 10000
    done
    echo slowest $slowest >&2";

#[tokio::test(flavor = "multi_thread")]
async fn twenty_containers_outlive_it_and_nothing_is_lost() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let mut ends = BTreeMap::new();
    for status in STATUSES {
        // Ends when the file appears, which is written while the daemon is away.
        let script = format!("until [ -e /tmp/end ]; do usleep 10000; done; exit {status}");
        let (task, streams) = stage.created(&format!("ends-{status}"), &script).await?;
        task.start().await?;
        ends.insert(format!("ends-{status}"), (task.pid(), status, streams));
    }
    for number in 1..LASTING {
        let (task, _streams) = stage.created(&format!("lasts-{number}"), "sleep 1000").await?;
        task.start().await?;
    }
    let (writer, mut streams) = stage.created("writer", WRITER).await?;
    writer.start().await?;
    let stdout = tokio::spawn(read_to_end(streams.take_stdout()));
    let stderr = tokio::spawn(read_to_end(streams.take_stderr()));

    stage.scene.daemon.crash();
    let crashed = SystemTime::now();
    for (pid, ..) in ends.values() {
        sh(&format!("touch /proc/{pid}/root/tmp/end; while [ -e /proc/{pid} ]; do :; done")).ok()?;
    }
    // The shim looks at its clock when it has reaped the process.
    let back = SystemTime::now() + Duration::from_millis(100);
    let exits = restart_and_collect(&mut stage, STATUSES.len()).await?;

    for (id, (pid, status, _)) in &ends {
        let exit = exits.get(id).unwrap_or_else(|| panic!("the exit of {id} was not delivered: {exits:?}"));
        assert_eq!((exit.pid, exit.exit_status), (*pid, *status), "{id}");
        let at = when(exit);
        assert!(crashed <= at && at <= back, "{id} ended at {at:?}, and not between {crashed:?} and {back:?}");
    }
    listed_with_the_truth(&stage.client, &ends).await?;
    exec_works(&stage.client).await?;
    writer_never_blocked(stdout.await??, stderr.await??);
    Ok(())
}

/// Starts the daemon again and collects the exits that are delivered, until there are `count`.
async fn restart_and_collect(stage: &mut Stage, count: usize) -> anyhow::Result<BTreeMap<String, TaskExit>> {
    stage.scene.daemon.start()?;
    stage.client = stage.scene.client().await?;
    let mut events = stage.client.events(&[r#"topic=="/tasks/exit""#]).await?;
    let mut exits = BTreeMap::new();
    while exits.len() < count {
        let event = timeout(STUCK, events.next()).await?.transpose()?;
        let Some(envelope) = event else { break };
        let exit = TaskExit::decode(envelope.event.unwrap_or_default().value.as_slice())?;
        exits.insert(exit.container_id.clone(), exit);
    }
    Ok(exits)
}

fn when(exit: &TaskExit) -> SystemTime {
    let stamp = exit.exited_at.unwrap_or_default();
    let (seconds, nanos) = (u64::try_from(stamp.seconds).unwrap(), u32::try_from(stamp.nanos).unwrap());
    SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
}

async fn listed_with_the_truth(client: &Client, ends: &BTreeMap<String, (u32, u32, Streams)>) -> anyhow::Result<()> {
    let tasks = client.tasks().list(ListTasksRequest::default()).await?.into_inner().tasks;
    assert_eq!(tasks.len(), LASTING + STATUSES.len());
    for task in tasks {
        match ends.get(&task.id) {
            Some((pid, status, _)) => {
                assert_eq!(task.status(), Status::Stopped, "{}", task.id);
                assert_eq!((task.pid, task.exit_status), (*pid, *status), "{}", task.id);
            }
            None if task.id == "writer" => assert!([Status::Running, Status::Stopped].contains(&task.status())),
            None => assert_eq!(task.status(), Status::Running, "{}", task.id),
        }
    }
    Ok(())
}

async fn exec_works(client: &Client) -> anyhow::Result<()> {
    let task: Task = client.container("lasts-1").await?.task().await?;
    let (exec, mut streams) = task.exec("after", ["sh", "-c", "echo still here; exit 3"], Io::piped()?).await?;
    exec.start().await?;
    assert_eq!(streams.stdout_to_end().await?, b"still here\n");
    assert_eq!(timeout(STUCK, exec.wait()).await??.status, 3);
    exec.delete().await?;
    Ok(())
}

fn writer_never_blocked(stdout: Vec<u8>, stderr: Vec<u8>) {
    let lines: Vec<&[u8]> = stdout.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), BLOCKS);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(line.len(), 10_000, "block {number}");
        assert!(line.starts_with(format!("{number:010} ").as_bytes()), "block {number} is another one");
    }
    let said = String::from_utf8_lossy(&stderr).into_owned();
    let slowest: u32 = said.trim().trim_start_matches("slowest ").parse().unwrap_or(u32::MAX);
    // The daemon was away for longer than this: had it held the writer up, the writer would have noticed.
    assert!(slowest <= 30, "a write took {slowest} hundredths of a second");
}

async fn read_to_end(stream: Option<Receiver>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
