//! Promise: not a byte of what a process reads or writes is lost or late, whoever comes and goes at the other end.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use wharf_client::NewContainer;
use wharf_client::io::{Io, Paths};
use wharf_integration::stage::{STUCK, Stage};

const GIGABYTE: u64 = 1 << 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_waits_for_a_reader_that_stops_and_goes_on() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let (task, mut streams) = stage.created("pours", "exec dd if=/dev/zero bs=1M count=1024 2> /dev/null").await?;
    let mut stdout = streams.take_stdout().ok_or_else(|| anyhow::anyhow!("no stdout"))?;
    task.start().await?;
    let mut chunk = vec![0; 1 << 20];
    let mut seen = 0;
    while seen < GIGABYTE / 4 {
        seen += stdout.read(&mut chunk).await? as u64;
    }
    // The reader stops, and so does the writer: it is in write(2), with its output to come.
    let shim = *stage.scene.daemon.shims().first().ok_or_else(|| anyhow::anyhow!("no shim"))?;
    let written = written(task.pid())?;
    assert!(written < GIGABYTE / 2, "{written} bytes were written with a quarter of them read");
    assert!(resident(shim) < 64 << 10, "the shim keeps what nobody reads: {} kB", resident(shim));
    loop {
        match timeout(STUCK, stdout.read(&mut chunk)).await?? {
            0 => break,
            read => seen += read as u64,
        }
    }
    assert_eq!(seen, GIGABYTE);
    assert_eq!(timeout(STUCK, task.wait()).await??.status, 0);
    task.delete().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_gigabyte_goes_in_and_comes_out_the_same() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let new = NewContainer::new("counts", &stage.image).command(["md5sum"]);
    let (task, mut streams) = stage.client.create_container(new).await?.create_task(Io::piped()?.with_stdin()).await?;
    task.start().await?;
    let mut stdin = streams.take_stdin().ok_or_else(|| anyhow::anyhow!("no stdin"))?;
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    for _ in 0..256 {
        timeout(STUCK, stdin.write_all(&block)).await??;
    }
    task.close_stdin().await?;
    let printed = timeout(STUCK, streams.stdout_to_end()).await??;
    let file = stage.scene.folder().join("the-same");
    std::fs::write(&file, block.repeat(256))?;
    let wanted = wharf_integration::command::sh(&format!("md5sum < {}", file.display())).ok()?;
    assert_eq!(String::from_utf8_lossy(&printed), wanted);
    assert_eq!(timeout(STUCK, task.wait()).await??.status, 0);
    task.delete().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_holds_the_output_delays_neither_the_exit_nor_its_own_words() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let (task, _streams) = stage.created("parent", "sleep 1000").await?;
    task.start().await?;
    let script = "(until [ -e /tmp/speak ]; do usleep 10000; done; echo late) & echo early; exit 3";
    let (exec, mut streams) = task.exec("leaves", ["sh", "-c", script], Io::piped()?).await?;
    exec.start().await?;
    let begun = Instant::now();
    assert_eq!(timeout(STUCK, exec.wait()).await??.status, 3);
    assert!(begun.elapsed() < Duration::from_millis(800), "the exit was told after {:?}", begun.elapsed());
    std::fs::write(format!("/proc/{}/root/tmp/speak", task.pid()), "")?;
    assert_eq!(timeout(STUCK, streams.stdout_to_end()).await??, b"early\nlate\n");
    exec.delete().await?;
    Ok(())
}

/// Fifos of a caller's own, as those have who attach to a container and leave it.
struct Fifos(tempfile::TempDir);

impl Fifos {
    fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        for name in ["out", "err"] {
            mknodat(CWD, dir.path().join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        }
        Ok(Self(dir))
    }

    fn io(&self) -> Io {
        let path = |name: &str| self.0.path().join(name).display().to_string();
        Io::paths(Paths { stdin: String::new(), stdout: path("out"), stderr: path("err") })
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_come_and_go_and_each_goes_on_where_the_last_one_left() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let fifos = Fifos::new()?;
    // It stays until all is read: what is in a fifo goes with the last who has it open.
    let script = "i=0; while [ $i -lt 3000 ]; do printf '%07d\\n' $i; i=$((i + 1)); done
        until [ -e /tmp/end ]; do usleep 10000; done";
    let new = NewContainer::new("speaks", &stage.image).command(["sh", "-c", script]);
    let (task, _) = stage.client.create_container(new).await?.create_task(fifos.io()).await?;
    task.start().await?;
    // Nobody reads yet, and nothing is lost nor anybody killed by it.
    let mut lines = Vec::new();
    for _ in 0..30 {
        let path = fifos.out();
        lines.extend(timeout(STUCK, tokio::task::spawn_blocking(move || some_lines(&path, 100))).await???);
    }
    std::fs::write(format!("/proc/{}/root/tmp/end", task.pid()), "")?;
    let wanted: Vec<Vec<u8>> = (0..3000).map(|number| format!("{number:07}\n").into_bytes()).collect();
    assert!(lines == wanted, "{} lines came, of {}", lines.len(), wanted.len());
    assert_eq!(timeout(STUCK, task.wait()).await??.status, 0);
    task.delete().await?;
    Ok(())
}

/// Attaches, reads so many lines of eight bytes, and leaves.
fn some_lines(path: &std::path::Path, count: usize) -> std::io::Result<Vec<Vec<u8>>> {
    use std::io::Read as _;
    let mut fifo = std::fs::OpenOptions::new().read(true).custom_flags(0).open(path)?;
    let mut lines = vec![vec![0; 8]; count];
    for line in &mut lines {
        fifo.read_exact(line)?;
    }
    Ok(lines)
}

/// How many bytes a process has written (proc(5), `/proc/PID/io`).
fn written(pid: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(line.unwrap_or_default().parse()?)
}

/// What a process holds in memory, in kilobytes.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(u64::MAX)
}
