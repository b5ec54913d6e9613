//! A shim without containers, for tests: it behaves as the word in its program's name says.
//!
//! `containerd-shim-WORD-v1`: `good` answers JSON, `bare` an address and speaks version 2 only, `wharf-proto` takes and answers
//! protobuf, `fresh` insists on it; `hang`, `words`, `rubbish` and `version9` fail at start; `refuse` and `crash` at create;
//! `forgetful` knows no task; `group` serves all tasks in one process. A pause cuts its connections.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::zombie_processes, reason = "the server outlives whoever starts it")]

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{Notify, watch};
use wharf_api::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult};
use wharf_api::containerd::task::v3 as api;
use wharf_ttrpc::{BoxFuture, Code, Context, Handler, Server, Status};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let program = PathBuf::from(&args[0]);
    let name = program.file_name().unwrap().to_str().unwrap().to_owned();
    let word = name.trim_start_matches("containerd-shim-").trim_end_matches("-v1").to_owned();
    let id = args[args.iter().position(|arg| arg == "-id").unwrap() + 1].clone();
    match args.last().unwrap().as_str() {
        "start" => start(&program, &word, &id),
        "delete" => delete(&program, &id),
        _ => serve(&word, &socket(&program, &word, &id)),
    }
}

fn socket(program: &Path, word: &str, id: &str) -> PathBuf {
    program.parent().unwrap().join(if word == "group" { "group.sock".to_owned() } else { format!("{id}.sock") })
}

fn start(program: &Path, word: &str, id: &str) {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    let params = BootstrapParams::decode(input.as_slice()).is_ok_and(|params| params.instance_id == id);
    match word {
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "words" => fail("these are the shim's own words"),
        "rubbish" => return println!("panic: oh no"),
        "fresh" if !params => fail("shim was started through the deprecated API"),
        _ => {}
    }
    let socket = socket(program, word, id);
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        let mut child = Command::new(program);
        child.args(["-id", id, "serve"]).process_group(0);
        let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // It closes its output once it listens.
        let mut nothing = String::new();
        child.stdout.unwrap().read_to_string(&mut nothing).unwrap();
    }
    let address = format!("unix://{}", socket.display());
    let json = |version: u32| println!(r#"{{"version":{version},"address":"{address}","protocol":"ttrpc"}}"#);
    match word {
        "bare" => println!("{address}"),
        "version9" => json(9),
        "wharf-proto" | "fresh" => {
            assert!(params, "the new form was promised");
            let answer = BootstrapResult { version: 3, address, protocol: "ttrpc".into(), ..Default::default() };
            std::io::stdout().write_all(&answer.encode_to_vec()).unwrap();
        }
        _ => json(3),
    }
}

fn fail(words: &str) {
    eprintln!("{words}");
    std::process::exit(1);
}

/// Leaves a line for the test, and answers.
fn delete(program: &Path, id: &str) {
    let log = program.with_file_name("deleted");
    let mut log = std::fs::File::options().create(true).append(true).open(log).unwrap();
    writeln!(log, "{id}").unwrap();
    let answer = api::DeleteResponse { pid: 4242, exit_status: 137, exited_at: None };
    std::io::stdout().write_all(&answer.encode_to_vec()).unwrap();
}

#[tokio::main(flavor = "current_thread")]
async fn serve(word: &str, socket: &Path) {
    let _ = std::fs::remove_file(socket);
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
    rustix::stdio::dup2_stdout(null).unwrap();
    let fake = Arc::new(Fake { word: word.to_owned(), ..Default::default() });
    let service = if word == "bare" { "containerd.task.v2.Task" } else { "containerd.task.v3.Task" };
    // A test that was killed must not leave it behind.
    let life = tokio::time::sleep(Duration::from_secs(60));
    let mut life = std::pin::pin!(life);
    loop {
        let server = Server::new().service(service, Arc::clone(&fake) as Arc<dyn Handler>);
        let listener = tokio::net::UnixListener::from_std(listener.try_clone().unwrap()).unwrap();
        tokio::select! {
            () = server.serve(listener, fake.end.notified()) => break,
            // Dropping the server cuts all connections.
            () = fake.cut.notified() => {}
            () = &mut life => break,
        }
    }
    let _ = std::fs::remove_file(socket);
}

/// Status and exit status.
type Process = watch::Sender<(i32, u32)>;

#[derive(Default)]
struct Fake {
    word: String,
    tasks: Mutex<HashMap<String, Arc<Process>>>,
    end: Notify,
    cut: Notify,
}

/// The task API's numbers.
const CREATED: i32 = 1;
const RUNNING: i32 = 2;
const STOPPED: i32 = 3;

impl Fake {
    fn task(&self, id: &str) -> Result<Arc<Process>, Status> {
        let found = self.tasks.lock().unwrap().get(id).cloned();
        found.filter(|_| self.word != "forgetful").ok_or_else(|| Status::new(Code::NotFound, format!("no task {id}")))
    }

    fn create(&self, id: String) -> Result<Vec<u8>, Status> {
        match self.word.as_str() {
            "refuse" => return Err(Status::new(Code::FailedPrecondition, "runc: exec: \"nope\": not found")),
            "crash" => std::process::exit(3),
            _ => {}
        }
        self.tasks.lock().unwrap().insert(id, Arc::new(watch::Sender::new((CREATED, 0))));
        Ok(api::CreateTaskResponse { pid: std::process::id() }.encode_to_vec())
    }

    fn state(&self, id: String) -> Result<Vec<u8>, Status> {
        let (status, exit_status) = *self.task(&id)?.borrow();
        let pid = std::process::id();
        Ok(api::StateResponse { id, pid, status, exit_status, stdout: "/out".into(), ..Default::default() }
            .encode_to_vec())
    }

    fn delete(&self, id: &str) -> Result<Vec<u8>, Status> {
        let (status, exit_status) = *self.task(id)?.borrow();
        if status == RUNNING {
            return Err(Status::new(Code::Unknown, "cannot delete a running process"));
        }
        self.tasks.lock().unwrap().remove(id);
        Ok(api::DeleteResponse { pid: std::process::id(), exit_status, exited_at: None }.encode_to_vec())
    }
}

impl Handler for Fake {
    fn call<'a>(&'a self, _: Context, method: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            // The id is the first field of every request.
            let id = api::StateRequest::decode(payload.clone()).map(|request| request.id).unwrap_or_default();
            match method {
                "Connect" => {
                    let shim_pid = std::process::id();
                    Ok(api::ConnectResponse { shim_pid, task_pid: shim_pid, version: String::new() }.encode_to_vec())
                }
                "Create" => self.create(id),
                "Start" => {
                    self.task(&id)?.send_replace((RUNNING, 0));
                    Ok(api::StartResponse { pid: std::process::id() }.encode_to_vec())
                }
                "State" => self.state(id),
                "Kill" => {
                    let signal = api::KillRequest::decode(payload).map_or(0, |request| request.signal);
                    self.task(&id)?.send_replace((STOPPED, 128 + signal));
                    Ok(Vec::new())
                }
                "Wait" => {
                    let mut task = self.task(&id)?.subscribe();
                    let (_, exit_status) = *task.wait_for(|(status, _)| *status == STOPPED).await.unwrap();
                    Ok(api::WaitResponse { exit_status, exited_at: None }.encode_to_vec())
                }
                "Delete" => self.delete(&id),
                "Pause" => {
                    self.cut.notify_one();
                    std::future::pending().await
                }
                "Shutdown" => {
                    if self.tasks.lock().unwrap().is_empty() {
                        self.end.notify_one();
                    }
                    Ok(Vec::new())
                }
                other => Err(Status::unknown_method(other)),
            }
        })
    }
}
