//! One process of a container, first or additional, from its naming to its deletion.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use wharf_runtime::Child;
use wharf_types::{ErrorKind, Kind as _};

use crate::error::{Error, Result};
use crate::ledger::Exit;
use crate::stdio::{Names, Streams};

/// A process. Its exit is set once, after it was written down and its event queued.
#[derive(Debug)]
pub(crate) struct Process {
    /// Empty for the first process.
    pub(crate) exec: String,
    pub(crate) names: Names,
    /// Held by a start until its event is queued, so that no exit is told before its start.
    pub(crate) gate: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    exit: watch::Sender<Option<Exit>>,
}

#[derive(Debug, Default)]
struct State {
    child: Option<Arc<Child>>,
    streams: Option<Streams>,
    started: bool,
}

impl Process {
    pub(crate) fn new(exec: &str, names: Names) -> Self {
        Self {
            exec: exec.to_owned(),
            names,
            gate: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            exit: watch::Sender::new(None),
        }
    }

    /// Takes over what exists now.
    pub(crate) fn set(&self, child: Arc<Child>, streams: Streams) {
        let mut state = self.state();
        (state.child, state.streams) = (Some(child), Some(streams));
    }

    pub(crate) fn set_started(&self) {
        self.state().started = true;
    }

    /// True once the user's program was told to run.
    pub(crate) fn is_started(&self) -> bool {
        self.state().started
    }

    pub(crate) fn child(&self) -> Option<Arc<Child>> {
        self.state().child.clone()
    }

    /// Its pid; 0 before there is one.
    pub(crate) fn pid(&self) -> u32 {
        self.state().child.as_ref().map_or(0, |c| c.pid())
    }

    pub(crate) fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    pub(crate) fn set_exit(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
    }

    /// Ends one that never ran: who waits for it is answered, with 255.
    pub(crate) fn end_unstarted(&self) -> Exit {
        let exit = self.exit().unwrap_or_else(|| Exit { pid: 0, status: 255, at: SystemTime::now() });
        self.set_exit(exit);
        exit
    }

    /// Waits for its end, as long as it takes.
    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        loop {
            if let Some(exit) = *exit.borrow_and_update() {
                return exit;
            }
            // The sender lives as long as this process is borrowed.
            let _ = exit.changed().await;
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: u32) -> Result<()> {
        let Some(child) = self.state().child.clone() else {
            return Err(Error::Precondition(format!("process {:?} was not started", self.exec)));
        };
        if self.exit().is_some() {
            return Err(finished());
        }
        child.signal(signal).map_err(|error| match ErrorKind::of_io(&error) {
            _ if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => finished(),
            _ => Error::io(format!("sending signal {signal}"))(error),
        })
    }

    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        match &self.state().streams {
            Some(streams) => streams.resize(width, height),
            None => Err(Error::Precondition(format!("process {:?} was not started", self.exec))),
        }
    }

    pub(crate) fn close_input(&self) {
        if let Some(streams) = &self.state().streams {
            streams.close_input();
        }
    }

    /// Waits until its output was passed on, within bounds.
    pub(crate) async fn drain(&self) {
        let drained = self.state().streams.as_ref().map(Streams::ended);
        if let Some(drained) = drained {
            drained.await;
        }
    }

    /// Lets go of its streams and fifos.
    pub(crate) fn close(&self) {
        self.state().streams = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What containerd answers to a signal for a process that has ended.
pub(crate) fn finished() -> Error {
    Error::NotFound("process already finished".into())
}

/// A failed signal by the runtime, in the same words.
pub(crate) fn kill_error(error: wharf_runtime::Error) -> Error {
    if error.kind() == ErrorKind::NotFound && error.message().is_some() { finished() } else { error.into() }
}
