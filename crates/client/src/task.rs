//! Running containers and the processes in them.

use std::time::{Duration, SystemTime};

use wharf_api::containerd::services::tasks::v1 as api;
use wharf_api::containerd::v1::types::Process;

use crate::io::{Io, Streams};
use crate::{Client, Error, Result, spec};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit status; 128 and the signal where a signal ended it.
    pub status: u32,
    /// When.
    pub at: SystemTime,
}

/// A process in a container: its first one, or one that was added.
#[derive(Clone, Debug)]
pub struct Task {
    client: Client,
    container: String,
    exec: String,
    pid: u32,
}

impl Task {
    pub(crate) fn new(client: Client, container: String, exec: String, pid: u32) -> Self {
        Self { client, container, exec, pid }
    }

    /// Its pid, 0 before an added process was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn doing(&self, verb: &str) -> String {
        match self.exec.as_str() {
            "" => format!("{verb} container {}", self.container),
            exec => format!("{verb} process {exec} of container {}", self.container),
        }
    }

    /// Runs the user's program and returns its pid.
    ///
    /// # Errors
    /// The runtime's own words when it refuses.
    pub async fn start(&self) -> Result<u32> {
        let request = api::StartRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        Ok(self.client.tasks().start(request).await.map_err(Error::during(self.doing("start")))?.into_inner().pid)
    }

    /// Waits until the process has ended, however long that takes.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the server goes away meanwhile.
    pub async fn wait(&self) -> Result<Exit> {
        let request = api::WaitRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        let doing = Error::during(self.doing("wait for"));
        let answer = self.client.tasks().wait(request).await.map_err(doing)?.into_inner();
        Ok(Exit { status: answer.exit_status, at: time(answer.exited_at) })
    }

    /// Sends a signal, to all processes of the container where `all` says so.
    ///
    /// # Errors
    /// `NotFound` once it has ended.
    pub async fn kill(&self, signal: u32, all: bool) -> Result<()> {
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let request = api::KillRequest { container_id, exec_id, signal, all };
        self.client.tasks().kill(request).await.map_err(Error::during(self.doing("signal")))?;
        Ok(())
    }

    /// What the process is and does.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn state(&self) -> Result<Process> {
        let request = api::GetRequest { container_id: self.container.clone(), exec_id: self.exec.clone() };
        let doing = self.doing("look at");
        let answer = self.client.tasks().get(request).await.map_err(Error::during(doing.clone()))?.into_inner();
        answer.process.ok_or(Error::Answer { doing, missing: "process" })
    }

    /// Adds a process that runs `args`, with the environment, user and directory of the container's own. It runs once started.
    ///
    /// # Errors
    /// `AlreadyExists`; `FailedPrecondition` when the container has ended.
    pub async fn exec<S: Into<String>>(
        &self,
        id: &str,
        args: impl IntoIterator<Item = S>,
        io: Io,
    ) -> Result<(Self, Streams)> {
        let container = self.client.container(&self.container).await?;
        let mut process = container.spec()?.process().clone().unwrap_or_default();
        process.set_args(Some(args.into_iter().map(Into::into).collect()));
        process.set_terminal(Some(io.terminal()));
        let streams = io.open()?;
        let paths = streams.paths();
        let request = api::ExecProcessRequest {
            container_id: self.container.clone(),
            exec_id: id.to_owned(),
            stdin: paths.stdin,
            stdout: paths.stdout,
            stderr: paths.stderr,
            terminal: streams.terminal(),
            spec: Some(spec::to_any(spec::PROCESS, &process)?),
        };
        let added = Self { exec: id.to_owned(), pid: 0, ..self.clone() };
        self.client.tasks().exec(request).await.map_err(Error::during(added.doing("add")))?;
        Ok((added, streams))
    }

    /// Sets the size of the terminal, in characters.
    ///
    /// # Errors
    /// `NotFound`; the shim's own when there is no terminal.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let request = api::ResizePtyRequest { container_id, exec_id, width, height };
        self.client.tasks().resize_pty(request).await.map_err(Error::during(self.doing("resize")))?;
        Ok(())
    }

    /// Closes the process's stdin once what was written has been read.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn close_stdin(&self) -> Result<()> {
        let (container_id, exec_id) = (self.container.clone(), self.exec.clone());
        let request = api::CloseIoRequest { container_id, exec_id, stdin: true };
        self.client.tasks().close_io(request).await.map_err(Error::during(self.doing("close the input of")))?;
        Ok(())
    }

    /// Forgets a process that has ended; for the first process its container's shim goes too.
    ///
    /// # Errors
    /// `FailedPrecondition` while it runs.
    pub async fn delete(&self) -> Result<Exit> {
        let container_id = self.container.clone();
        let doing = Error::during(self.doing("delete"));
        let answer = if self.exec.is_empty() {
            self.client.tasks().delete(api::DeleteTaskRequest { container_id }).await
        } else {
            let exec_id = self.exec.clone();
            self.client.tasks().delete_process(api::DeleteProcessRequest { container_id, exec_id }).await
        };
        let answer = answer.map_err(doing)?.into_inner();
        Ok(Exit { status: answer.exit_status, at: time(answer.exited_at) })
    }
}

/// A protobuf time as the standard library's; one that is missing or absurd is the epoch.
pub(crate) fn time(stamp: Option<prost_types::Timestamp>) -> SystemTime {
    let stamp = stamp.unwrap_or_default();
    let seconds = Duration::from_secs(stamp.seconds.unsigned_abs());
    let whole = if stamp.seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    let nanos = Duration::from_nanos(u64::try_from(stamp.nanos).unwrap_or(0));
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
}
