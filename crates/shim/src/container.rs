//! A container: made from a bundle, started, asked, ended, removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharf_api::containerd::events::{TaskCreate, TaskDelete, TaskIo, TaskPaused, TaskResumed, TaskStart};
use wharf_api::containerd::task::v3::CreateTaskRequest;
use wharf_runtime::{Create, Runc, Runtime as _};
use wharf_types::{ErrorKind, Kind as _, Mount};

use crate::cgroup::{self, Cgroup};
use crate::error::{Error, Result};
use crate::exit;
use crate::ledger::Exit;
use crate::oom::{self, Oom};
use crate::options::Options;
use crate::process::{Process, finished, kill_error};
use crate::shim::{Shim, warn};
use crate::spec::Spec;
use crate::stdio::{Names, Streams};
use crate::time::timestamp;

/// How long a container that was killed in order to be deleted may take to end.
const KILLED: Duration = Duration::from_secs(10);

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) runtime: Runc,
    pub(crate) options: Options,
    pub(crate) init: Arc<Process>,
    pub(crate) cgroup: Cgroup,
    pub(crate) oom: Oom,
    /// The first process's end ends all others.
    pub(crate) own_pids: bool,
    state: Mutex<State>,
    /// One deletion at a time.
    deleting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    execs: BTreeMap<String, Arc<crate::exec::Exec>>,
    paused: bool,
}

impl Container {
    /// Makes a container: mounts its root filesystem, has the runtime create it, and watches over its first process.
    pub(crate) async fn create(shim: &Arc<Shim>, request: CreateTaskRequest) -> Result<u32> {
        let reserved = shim.reserve(&request.id)?;
        let bundle = checked(&request)?;
        let options = Options::of_request(request.options.as_ref())?;
        let spec = Spec::load(&bundle)?;
        options.save(&bundle)?;
        let runtime = options.runtime(&bundle, shim.state(), shim.namespace(), shim.children());
        let rootfs = bundle.join("rootfs");
        mount(&request, &rootfs)?;
        let names = Names {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let init = Arc::new(Process::new("", names));
        if let Err(error) = run(&runtime, &request.id, &bundle, &options, &init).await {
            abandon(&runtime, &request.id, &bundle, &error).await;
            return Err(error);
        }
        let cgroup = Cgroup::of(init.pid());
        let container = Arc::new(Self {
            id: request.id.clone(),
            bundle,
            runtime,
            options,
            own_pids: spec.has_own_pid_namespace(),
            oom: Oom::default(),
            cgroup,
            init: init.clone(),
            state: Mutex::default(),
            deleting: tokio::sync::Mutex::default(),
        });
        let pid = init.pid();
        reserved.fill(container.clone());
        shim.publish("/tasks/create", "TaskCreate", &created(request, pid));
        oom::watch(shim, &container);
        exit::watch(shim, &container, &init);
        Ok(pid)
    }

    /// A process by exec id; the first one by an empty id.
    pub(crate) fn process(&self, exec: &str) -> Result<Arc<Process>> {
        if exec.is_empty() { Ok(self.init.clone()) } else { Ok(self.exec(exec)?.process.clone()) }
    }

    pub(crate) fn exec(&self, exec: &str) -> Result<Arc<crate::exec::Exec>> {
        let found = self.state().execs.get(exec).cloned();
        found.ok_or_else(|| Error::NotFound(format!("process {exec:?} of container {:?} does not exist", self.id)))
    }

    pub(crate) fn add_exec(&self, name: &str, exec: Arc<crate::exec::Exec>) -> Result<()> {
        let mut state = self.state();
        if state.execs.contains_key(name) {
            return Err(Error::Exists(format!("process {name:?} of container {:?}", self.id)));
        }
        state.execs.insert(name.to_owned(), exec);
        Ok(())
    }

    pub(crate) fn forget_exec(&self, name: &str) {
        self.state().execs.remove(name);
    }

    pub(crate) fn execs(&self) -> Vec<Arc<crate::exec::Exec>> {
        self.state().execs.values().cloned().collect()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused
    }

    /// Runs the user's process.
    pub(crate) async fn start(&self, shim: &Shim) -> Result<u32> {
        let _gate = self.init.gate.lock().await;
        if self.init.exit().is_some() {
            return Err(Error::Precondition(format!("container {:?} has ended, and cannot be started", self.id)));
        }
        if self.init.is_started() {
            return Err(Error::Precondition(format!("container {:?} was started already", self.id)));
        }
        self.runtime.start(&self.id).await?;
        self.init.set_started();
        let pid = self.init.pid();
        shim.publish("/tasks/start", "TaskStart", &TaskStart { container_id: self.id.clone(), pid });
        Ok(pid)
    }

    /// Signals the first process, or all.
    pub(crate) async fn kill(&self, signal: u32, all: bool) -> Result<()> {
        if self.init.exit().is_some() && !all {
            return Err(finished());
        }
        self.runtime.kill(&self.id, signal, all).await.map_err(kill_error)
    }

    pub(crate) async fn pause(&self, shim: &Shim) -> Result<()> {
        self.runtime.pause(&self.id).await?;
        self.state().paused = true;
        shim.publish("/tasks/paused", "TaskPaused", &TaskPaused { container_id: self.id.clone() });
        Ok(())
    }

    pub(crate) async fn resume(&self, shim: &Shim) -> Result<()> {
        self.runtime.resume(&self.id).await?;
        self.state().paused = false;
        shim.publish("/tasks/resumed", "TaskResumed", &TaskResumed { container_id: self.id.clone() });
        Ok(())
    }

    /// Removes a container that has ended, or that never ran.
    pub(crate) async fn delete(&self, shim: &Shim) -> Result<Exit> {
        let _one = self.deleting.lock().await;
        let exit = match self.init.exit() {
            Some(exit) => exit,
            None if self.init.is_started() => {
                return Err(Error::Precondition(format!("container {:?} runs: kill it before it is deleted", self.id)));
            }
            None => self.end_unstarted().await?,
        };
        if let Err(error) = self.runtime.delete(&self.id, true).await
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let rootfs = self.bundle.join("rootfs");
        wharf_sys::mount::unmount_all(&rootfs).map_err(unmounting(&rootfs))?;
        // A second deletion that waited finds the container gone; only the first one tells.
        if shim.has(&self.id) {
            shim.forget(&self.id);
            for exec in self.execs() {
                exec.process.end_unstarted();
                exec.process.close();
            }
            self.init.close();
            shim.publish("/tasks/delete", "TaskDelete", &self.deleted(exit));
        }
        Ok(exit)
    }

    async fn end_unstarted(&self) -> Result<Exit> {
        if let Err(error) = self.runtime.kill(&self.id, 9, false).await
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error.into());
        }
        let ended = tokio::time::timeout(KILLED, self.init.wait()).await;
        ended.map_err(|_| Error::Precondition(format!("container {:?} was killed and does not end", self.id)))
    }

    fn deleted(&self, exit: Exit) -> TaskDelete {
        TaskDelete {
            container_id: self.id.clone(),
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(timestamp(exit.at)),
            id: String::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bundle of a request whose words can be used as names.
fn checked(request: &CreateTaskRequest) -> Result<PathBuf> {
    request.id.parse::<wharf_types::Id>().map_err(|e| Error::invalid(format!("container id: {e}")))?;
    if !request.checkpoint.is_empty() {
        return Err(Error::Unimplemented("restoring from a checkpoint is not built".into()));
    }
    let bundle = PathBuf::from(&request.bundle);
    if bundle.is_absolute() {
        Ok(bundle)
    } else {
        Err(Error::invalid(format!("bundle {bundle:?} is no absolute path")))
    }
}

/// Mounts the root filesystem. It blocks this thread for as long as mount(2) does, which is why network filesystems belong
/// on the daemon's side.
fn mount(request: &CreateTaskRequest, rootfs: &Path) -> Result<()> {
    if request.rootfs.is_empty() {
        return Ok(());
    }
    let mounts: Vec<Mount> = request
        .rootfs
        .iter()
        .map(|m| Mount {
            kind: m.r#type.clone(),
            source: m.source.clone(),
            target: m.target.clone(),
            options: m.options.clone(),
        })
        .collect();
    std::fs::create_dir_all(rootfs).map_err(Error::io(format!("making {}", rootfs.display())))?;
    wharf_sys::mount::mount_all(&mounts, rootfs).map_err(|source| Error::Mount {
        doing: format!("mounting the root filesystem of {:?}", request.id),
        source: source.into(),
    })
}

/// Opens stdio and has the runtime create the container.
async fn run(runtime: &Runc, id: &str, bundle: &Path, options: &Options, init: &Process) -> Result<()> {
    let (mut streams, io) = Streams::open(&init.names, (options.io_uid, options.io_gid))?;
    let create = Create {
        bundle: bundle.to_path_buf(),
        io,
        pid_file: None,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
    };
    let started = runtime.create(id, create).await?;
    if let Some(console) = started.console {
        streams.attach(console)?;
    }
    init.set(Arc::new(started.child), streams);
    Ok(())
}

/// Takes down what a failed creation left, except a container that somebody else had made before.
async fn abandon(runtime: &Runc, id: &str, bundle: &Path, error: &Error) {
    if error.kind() != ErrorKind::AlreadyExists && !is_missing(error) {
        let _ = runtime.delete(id, true).await;
        remove_cgroup(bundle).await;
    }
    if let Err(error) = wharf_sys::mount::unmount_all(bundle.join("rootfs")) {
        warn(&format!("after a failed creation: {error}"));
    }
}

/// Removes the cgroup of a container that the runtime may have made and have no record of.
pub(crate) async fn remove_cgroup(bundle: &Path) {
    if let Some(path) = Spec::load(bundle).ok().as_ref().and_then(Spec::cgroup) {
        cgroup::remove(path).await;
    }
}

/// True when there is no runtime that could clean up.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Runtime(e) if matches!(**e, wharf_runtime::Error::Missing { .. }))
}

pub(crate) fn unmounting(rootfs: &Path) -> impl FnOnce(wharf_sys::Error) -> Error {
    let doing = format!("unmounting {}", rootfs.display());
    move |source| Error::Mount { doing, source: source.into() }
}

fn created(request: CreateTaskRequest, pid: u32) -> TaskCreate {
    let io =
        TaskIo { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
    TaskCreate {
        container_id: request.id,
        bundle: request.bundle,
        rootfs: request.rootfs,
        io: Some(io),
        checkpoint: request.checkpoint,
        pid,
    }
}
