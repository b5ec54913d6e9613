//! The real program with the real runc: what a task promises.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use prost::Message as _;
use support::{Shim, Stage, fifo, read_all};
use wharf_api::containerd::task::v3 as api;
use wharf_ttrpc::Code;

fn none() -> [&'static Path; 3] {
    [Path::new(""); 3]
}

async fn ended(shim: &Shim) -> u32 {
    let exit = shim.delete("").await.unwrap();
    shim.shutdown().await;
    assert!(!shim.socket.exists(), "the socket is left");
    exit.exit_status
}

#[tokio::test]
async fn exit_codes_reach_everybody_who_waits() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("code", &["sh", "-c", "exit 7"], false);
    let shim = stage.shim("code").await;
    let pid = shim.create_quiet().await;
    assert_eq!(shim.create(none(), false).await.unwrap_err().code, Code::AlreadyExists);
    assert_eq!(shim.state("").await.unwrap().status, 1);
    let (a, b, started) = tokio::join!(shim.wait(""), shim.wait(""), shim.start(""));
    assert_eq!((a, b, started.unwrap()), (7, 7, pid));
    assert_eq!(shim.start("").await.unwrap_err().code, Code::FailedPrecondition);
    let gone = shim.kill("", 9).await.unwrap_err();
    assert_eq!((gone.code, gone.message.as_str()), (Code::NotFound, "process already finished"));
    let ledger = fs::read_to_string(shim.bundle.join("exits")).unwrap();
    assert!(ledger.starts_with(&format!("- {pid} 7 ")), "{ledger}");
    assert_eq!(ended(&shim).await, 7);
}

#[tokio::test]
async fn a_signal_is_128_and_its_number_and_a_running_task_is_not_deleted() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("kill", &["sleep", "100"], false);
    let shim = stage.shim("kill").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    assert_eq!(shim.delete("").await.unwrap_err().code, Code::FailedPrecondition);
    shim.kill("", 9).await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    assert_eq!(ended(&shim).await, 137);
}

#[tokio::test]
async fn a_task_that_never_started_can_be_deleted() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("idle", &["true"], false);
    let shim = stage.shim("idle").await;
    shim.create_quiet().await;
    assert_eq!(ended(&shim).await, 137);
}

#[tokio::test]
async fn the_words_of_the_runtime_reach_the_caller_and_nothing_is_left() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("bad", &["/no/such/program"], false);
    let shim = stage.shim("bad").await;
    let refused = shim.create(none(), false).await.unwrap_err();
    assert!(refused.message.contains("/no/such/program"), "{}", refused.message);
    assert_eq!(shim.state("").await.unwrap_err().code, Code::NotFound);
    let left = stage.dir.path().join("runc/test/bad");
    assert!(!left.exists());
    shim.shutdown().await;
}

#[tokio::test]
async fn twenty_megabytes_come_through_whole_and_end() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("big", &["sh", "-c", "cat /tmp/data; echo done >&2"], false);
    let data: Vec<u8> = (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(stage.bundle("big").join("rootfs/tmp/data"), &data).unwrap();
    let (out, err) = (fifo(stage.dir.path(), "out"), fifo(stage.dir.path(), "err"));
    let shim = stage.shim("big").await;
    let (read_out, read_err) = (read_all(&out), read_all(&err));
    shim.create([Path::new(""), &out, &err], false).await.unwrap();
    shim.start("").await.unwrap();
    assert_eq!(shim.wait("").await, 0);
    assert!(read_out.await.unwrap() == data, "the bytes differ");
    assert_eq!(read_err.await.unwrap(), b"done\n");
    assert_eq!(ended(&shim).await, 0);
}

#[tokio::test]
async fn stdin_is_passed_on_to_its_last_byte_before_it_is_closed() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("cat", &["cat"], false);
    let (input, out) = (fifo(stage.dir.path(), "in"), fifo(stage.dir.path(), "out"));
    let shim = stage.shim("cat").await;
    let read = read_all(&out);
    shim.create([&input, &out, Path::new("")], false).await.unwrap();
    shim.start("").await.unwrap();
    let mut writer = fs::OpenOptions::new().write(true).open(&input).unwrap();
    writer.write_all(b"to the last byte").unwrap();
    let close = api::CloseIoRequest { id: "cat".into(), exec_id: String::new(), stdin: true };
    shim.call::<_, ()>("CloseIO", &close).await.unwrap();
    assert_eq!(shim.wait("").await, 0);
    assert_eq!(read.await.unwrap(), b"to the last byte");
    assert_eq!(ended(&shim).await, 0);
}

#[tokio::test]
async fn a_terminal_has_the_size_it_was_given() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("tty", &["sh", "-c", "read line; stty size; exit 3"], true);
    let (input, out) = (fifo(stage.dir.path(), "in"), fifo(stage.dir.path(), "out"));
    let shim = stage.shim("tty").await;
    let read = read_all(&out);
    shim.create([&input, &out, Path::new("")], true).await.unwrap();
    shim.start("").await.unwrap();
    let size = api::ResizePtyRequest { id: "tty".into(), exec_id: String::new(), width: 91, height: 33 };
    shim.call::<_, ()>("ResizePty", &size).await.unwrap();
    fs::OpenOptions::new().write(true).open(&input).unwrap().write_all(b"go\n").unwrap();
    assert_eq!(shim.wait("").await, 3);
    let text = String::from_utf8(read.await.unwrap()).unwrap();
    assert!(text.contains("33 91"), "{text:?}");
    assert_eq!(ended(&shim).await, 3);
}

#[tokio::test]
async fn execs_run_beside_and_only_three_descriptors_are_theirs() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("exec", &["sleep", "100"], false);
    let out = fifo(stage.dir.path(), "out");
    let shim = stage.shim("exec").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    let read = read_all(&out);
    shim.exec("ls", &["sh", "-c", "ls /proc/1/fd; exit 4"], [Path::new(""), &out, Path::new("")]).await;
    assert_eq!(shim.state("ls").await.unwrap().status, 1);
    let pid = shim.start("ls").await.unwrap();
    assert!(pid > 0);
    assert_eq!(shim.wait("ls").await, 4);
    assert_eq!(read.await.unwrap(), b"0\n1\n2\n");
    let exit = shim.delete("ls").await.unwrap();
    assert_eq!((exit.pid, exit.exit_status), (pid, 4));
    assert_eq!(shim.state("ls").await.unwrap_err().code, Code::NotFound);
    shim.exec("bad", &["/no/such"], none()).await;
    let refused = shim.start("bad").await.unwrap_err();
    assert!(refused.message.contains("/no/such"), "{}", refused.message);
    assert_eq!(shim.wait("bad").await, 255);
    shim.kill("", 15).await.unwrap();
    shim.kill("", 9).await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    assert_eq!(ended(&shim).await, 137);
}

#[tokio::test]
async fn nobody_waits_for_ever_for_an_exec_that_never_ran() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("never", &["sleep", "100"], false);
    let shim = stage.shim("never").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    shim.exec("bad", &["/no/such/program"], none()).await;
    let (status, started) = tokio::join!(shim.wait("bad"), shim.start("bad"));
    assert_eq!(status, 255);
    assert!(started.unwrap_err().message.contains("/no/such/program"));
    assert_eq!(shim.wait("bad").await, 255, "who asks later is answered too");
    assert_eq!(shim.state("bad").await.unwrap().status, 1, "it never was more than created");
    assert_eq!(shim.delete("bad").await.unwrap().exit_status, 255);
    shim.exec("taken-back", &["true"], none()).await;
    let (status, exit) = tokio::join!(shim.wait("taken-back"), shim.delete("taken-back"));
    assert_eq!((status, exit.unwrap().exit_status), (255, 0));
    shim.exec("named", &["true"], none()).await;
    let (status, exit) = tokio::join!(shim.wait("named"), async {
        shim.kill("", 9).await.unwrap();
        shim.wait("").await;
        shim.delete("").await
    });
    assert_eq!((status, exit.unwrap().exit_status), (255, 137));
    shim.shutdown().await;
}

#[tokio::test]
async fn a_reader_who_is_gone_holds_up_nobody() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("gone", &["sh", "-c", "dd if=/dev/zero bs=1000 count=500 2>/dev/null"], false);
    let out = fifo(stage.dir.path(), "out");
    let shim = stage.shim("gone").await;
    shim.create([Path::new(""), &out, Path::new("")], false).await.unwrap();
    let mut reader = fs::File::open(&out).unwrap();
    shim.start("").await.unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    // The writer waits for a reader to come back, and the shim answers meanwhile.
    assert_eq!(shim.state("").await.unwrap().status, 2);
    shim.exec("other", &["true"], none()).await;
    shim.start("other").await.unwrap();
    assert_eq!(shim.wait("other").await, 0);
    let rest = read_all(&out);
    assert_eq!(shim.wait("").await, 0);
    assert_eq!(rest.await.unwrap().len(), 500_000 - 10);
    assert_eq!(ended(&shim).await, 0);
}

#[tokio::test]
async fn a_child_left_behind_with_the_pipe_does_not_delay_the_exit() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("left", &["sleep", "100"], false);
    let out = fifo(stage.dir.path(), "out");
    let shim = stage.shim("left").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&out).unwrap();
    shim.exec("bg", &["sh", "-c", "sleep 100 & echo hello"], [Path::new(""), &out, Path::new("")]).await;
    shim.start("bg").await.unwrap();
    assert_eq!(shim.wait("bg").await, 0);
    let mut hello = [0; 6];
    reader.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello\n");
    shim.kill("", 9).await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    assert_eq!(ended(&shim).await, 137);
}

#[tokio::test]
async fn pause_resume_pids_stats_update() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("ctl", &["sleep", "100"], false);
    let shim = stage.shim("ctl").await;
    let pid = shim.create_quiet().await;
    shim.start("").await.unwrap();
    shim.call::<_, ()>("Pause", &api::PauseRequest { id: "ctl".into() }).await.unwrap();
    assert_eq!(shim.state("").await.unwrap().status, 4);
    shim.call::<_, ()>("Resume", &api::ResumeRequest { id: "ctl".into() }).await.unwrap();
    assert_eq!(shim.state("").await.unwrap().status, 2);
    let pids: api::PidsResponse = shim.call("Pids", &api::PidsRequest { id: "ctl".into() }).await.unwrap();
    assert_eq!(pids.processes.iter().map(|p| p.pid).collect::<Vec<_>>(), [pid]);
    let stats: api::StatsResponse = shim.call("Stats", &api::StatsRequest { id: "ctl".into() }).await.unwrap();
    let stats = stats.stats.unwrap();
    if stats.type_url == "io.containerd.cgroups.v1.Metrics" {
        let metrics = wharf_api::io::containerd::cgroups::v1::Metrics::decode(stats.value.as_slice()).unwrap();
        assert_eq!(metrics.pids.unwrap().current, 1);
        assert!(metrics.memory.unwrap().usage.unwrap().usage > 0);
    }
    let resources = br#"{"pids":{"limit":77}}"#.to_vec();
    let resources = Some(prost_types::Any { type_url: String::new(), value: resources });
    let update = api::UpdateTaskRequest { id: "ctl".into(), resources, ..Default::default() };
    shim.call::<_, ()>("Update", &update).await.unwrap();
    shim.kill("", 9).await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    assert_eq!(ended(&shim).await, 137);
}
