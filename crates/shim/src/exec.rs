//! Additional processes.

use std::sync::Arc;

use wharf_api::containerd::events::{TaskExecAdded, TaskExecStarted};
use wharf_api::containerd::task::v3::ExecProcessRequest;
use wharf_runtime::Runtime as _;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::exit;
use crate::ledger::Exit;
use crate::process::Process;
use crate::shim::Shim;
use crate::stdio::{Names, Streams};

/// A process that was named, and is run when it is started.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) process: Arc<Process>,
    /// The specification's `process`, as JSON.
    spec: Vec<u8>,
}

impl Container {
    /// Names an additional process.
    pub(crate) fn exec_add(&self, shim: &Shim, request: ExecProcessRequest) -> Result<()> {
        request.exec_id.parse::<wharf_types::Id>().map_err(|e| Error::invalid(format!("exec id: {e}")))?;
        if self.init.exit().is_some() {
            return Err(Error::Precondition(format!("container {:?} has ended, and runs no further process", self.id)));
        }
        let spec = request.spec.map(|s| s.value).unwrap_or_default();
        let names =
            Names { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let process = Arc::new(Process::new(&request.exec_id, names));
        let spec = with_terminal(&spec, request.terminal)?;
        self.add_exec(&request.exec_id, Arc::new(Exec { process, spec }))?;
        let event = TaskExecAdded { container_id: self.id.clone(), exec_id: request.exec_id };
        shim.publish("/tasks/exec-added", "TaskExecAdded", &event);
        Ok(())
    }

    /// Runs an additional process.
    pub(crate) async fn exec_start(self: &Arc<Self>, shim: &Arc<Shim>, name: &str) -> Result<u32> {
        let exec = self.exec(name)?;
        let process = &exec.process;
        let _gate = process.gate.lock().await;
        if process.is_started() || process.exit().is_some() {
            return Err(Error::Precondition(format!(
                "process {name:?} of container {:?} was started already",
                self.id
            )));
        }
        if let Err(error) = self.run_exec(&exec).await {
            // Whoever waits for it must not wait for ever.
            process.end_unstarted();
            return Err(error);
        }
        process.set_started();
        let pid = process.pid();
        let event = TaskExecStarted { container_id: self.id.clone(), exec_id: name.to_owned(), pid };
        shim.publish("/tasks/exec-started", "TaskExecStarted", &event);
        exit::watch(shim, self, process);
        Ok(pid)
    }

    async fn run_exec(&self, exec: &Exec) -> Result<()> {
        let owner = (self.options.io_uid, self.options.io_gid);
        let (mut streams, io) = Streams::open(&exec.process.names, owner)?;
        let run = wharf_runtime::Exec { scratch: self.bundle.clone(), process: exec.spec.clone(), io };
        let started = self.runtime.exec(&self.id, run).await?;
        if let Some(console) = started.console {
            streams.attach(console)?;
        }
        exec.process.set(Arc::new(started.child), streams);
        Ok(())
    }

    /// Forgets an additional process that has ended, or never ran.
    pub(crate) fn exec_delete(&self, name: &str) -> Result<Exit> {
        let process = self.exec(name)?.process.clone();
        let exit = match process.exit() {
            Some(exit) => exit,
            None if process.is_started() => {
                return Err(Error::Precondition(format!("process {name:?} of container {:?} runs", self.id)));
            }
            // Who waits for it is told that it will never run; who took it back has nothing to complain of, and is told 0 as
            // containerd tells it.
            None => Exit { status: 0, ..process.end_unstarted() },
        };
        process.close();
        self.forget_exec(name);
        Ok(exit)
    }
}

/// The process's JSON with `terminal` as the request has it: the two must agree, and the request is what stdio follows.
fn with_terminal(spec: &[u8], terminal: bool) -> Result<Vec<u8>> {
    let bad = |why: String| Error::invalid(format!("the spec of an exec is not an OCI process: {why}"));
    let mut process: serde_json::Value = serde_json::from_slice(spec).map_err(|e| bad(e.to_string()))?;
    let fields = process.as_object_mut().ok_or_else(|| bad("it is no JSON object".into()))?;
    fields.insert("terminal".into(), terminal.into());
    serde_json::to_vec(&process).map_err(|e| bad(e.to_string()))
}
