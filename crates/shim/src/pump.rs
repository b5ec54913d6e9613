//! Moves bytes from one descriptor to another, holding at most one chunk of them.
//!
//! Pipes are spliced, so that their bytes never enter this process; what cannot be spliced is copied. A pump waits for its
//! reader as long as it takes and delays nobody else meanwhile.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use wharf_sys::process::readable_bytes;

/// The most bytes moved at once: what a pipe holds unless told otherwise (pipe(7)).
const CHUNK: usize = 64 << 10;

/// What says that a read would not block.
const INPUT: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);

/// A descriptor with readiness.
pub(crate) type Watched = AsyncFd<OwnedFd>;

/// Where bytes go.
#[derive(Debug)]
pub(crate) enum Sink {
    /// A pipe or fifo: bytes are spliced from pipes.
    Pipe(Watched),
    /// A terminal: bytes are copied.
    Terminal(Arc<Watched>),
    /// A regular file, which is always ready.
    File(File),
}

/// Where bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A pipe or fifo.
    Pipe(Watched),
    /// A terminal's master, which answers EIO once every user of the terminal is gone.
    Terminal(Arc<Watched>),
}

/// What the outside tells a pump, and learns from it.
#[derive(Debug, Clone)]
pub(crate) struct Signals {
    /// Turns true when there will be no more worth waiting for: the process has ended, or its input was closed.
    pub(crate) finish: watch::Receiver<bool>,
    /// True for a pump that ends once it is told to finish and its source is empty; false for one that only reports that
    /// and goes on, because others may still write there.
    pub(crate) ends: bool,
    /// Told when, after `finish`, the source was empty.
    pub(crate) drained: Arc<Notify>,
}

/// What one attempt came to.
enum Step {
    Moved,
    Empty,
    Full,
    End,
}

/// Moves bytes until the source ends, or the sink is gone.
pub(crate) async fn pump(source: Source, mut sink: Sink, mut signals: Signals) {
    let mut pending = Vec::new();
    loop {
        match step(&source, &mut sink, &mut pending) {
            Step::Moved => tokio::task::consume_budget().await,
            Step::Full => {
                if writable(&sink).await.is_err() {
                    break;
                }
            }
            Step::Empty => {
                let finishing = *signals.finish.borrow_and_update();
                if finishing {
                    signals.drained.notify_one();
                    if signals.ends {
                        break;
                    }
                }
                tokio::select! {
                    ready = readable(source.watched()) => if ready.is_err() { break },
                    changed = signals.finish.changed(), if !finishing => if changed.is_err() { break },
                }
            }
            Step::End => break,
        }
    }
    signals.drained.notify_one();
}

impl Source {
    fn watched(&self) -> &Watched {
        match self {
            Self::Pipe(fd) => fd,
            Self::Terminal(fd) => fd,
        }
    }
}

/// One attempt that never blocks on a pipe or terminal.
fn step(source: &Source, sink: &mut Sink, pending: &mut Vec<u8>) -> Step {
    if pending.is_empty() {
        // A fifo that no writer has opened yet reads as ended, and only poll(2) knows better.
        match is_ready(source.watched(), INPUT) {
            Ok(true) => {}
            Ok(false) => return Step::Empty,
            Err(_) => return Step::End,
        }
        if let (Source::Pipe(from), Sink::Pipe(to)) = (source, &*sink) {
            return match splice(from.get_ref(), None, to.get_ref(), None, CHUNK, SpliceFlags::NONBLOCK) {
                Ok(0) => Step::End,
                Ok(_) => Step::Moved,
                Err(Errno::INTR) => Step::Moved,
                Err(Errno::AGAIN) if readable_bytes(from.get_ref()).is_ok_and(|n| n > 0) => Step::Full,
                Err(Errno::AGAIN) => Step::Empty,
                Err(_) => Step::End,
            };
        }
        match fill(source.watched(), pending) {
            Ok(0) | Err(Errno::IO) => return Step::End,
            Ok(_) => {}
            Err(Errno::INTR) => return Step::Moved,
            Err(Errno::AGAIN) => return Step::Empty,
            Err(_) => return Step::End,
        }
    }
    drain(sink, pending)
}

/// Reads a chunk.
fn fill(from: &Watched, pending: &mut Vec<u8>) -> Result<usize, Errno> {
    let waiting = readable_bytes(from.get_ref()).ok().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    pending.resize(waiting.clamp(1, CHUNK), 0);
    let read = rustix::io::read(from.get_ref(), pending.as_mut_slice());
    pending.truncate(*read.as_ref().unwrap_or(&0));
    read
}

/// Writes what is pending; a file that refuses loses this chunk and no later one.
fn drain(sink: &mut Sink, pending: &mut Vec<u8>) -> Step {
    let to = match sink {
        Sink::File(file) => {
            let _ = file.write_all(pending);
            *pending = Vec::new();
            return Step::Moved;
        }
        Sink::Pipe(to) => &*to,
        Sink::Terminal(to) => &**to,
    };
    match rustix::io::write(to.get_ref(), pending) {
        Ok(written) if written >= pending.len() => *pending = Vec::new(),
        Ok(written) => drop(pending.drain(..written)),
        Err(Errno::AGAIN) => return Step::Full,
        Err(Errno::INTR) => {}
        Err(_) => return Step::End,
    }
    Step::Moved
}

/// Waits until something can be read. Readiness that tokio remembers may be stale, so the kernel is asked again.
async fn readable(fd: &Watched) -> io::Result<()> {
    loop {
        let mut guard = fd.readable().await?;
        if is_ready(fd, INPUT)? {
            return Ok(());
        }
        guard.clear_ready();
    }
}

/// Waits until something can be written.
async fn writable(sink: &Sink) -> io::Result<()> {
    let fd = match sink {
        Sink::Pipe(fd) => fd,
        Sink::Terminal(fd) => fd.as_ref(),
        Sink::File(_) => return Ok(()),
    };
    loop {
        let mut guard = fd.writable().await?;
        if is_ready(fd, PollFlags::OUT | PollFlags::ERR | PollFlags::HUP)? {
            return Ok(());
        }
        guard.clear_ready();
    }
}

fn is_ready(fd: &Watched, flags: PollFlags) -> io::Result<bool> {
    let mut fds = [PollFd::new(fd.get_ref(), flags)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&none)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
