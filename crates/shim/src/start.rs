//! `start`: makes the socket, leaves a server behind, and answers where it is.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use wharf_sys::detach::{Side, detach, redirect};

use crate::bootstrap::Bootstrap;
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::serve::{Config, serve};
use crate::socket::{self, Claim};
use crate::spec::Spec;

/// The most bytes read from standard input.
const INPUT_MAX: u64 = 10 << 20;

/// Where and for whom a shim runs, from flags, environment and standard input together.
pub(crate) struct Place {
    pub(crate) bundle: PathBuf,
    /// The directory of the daemon's socket.
    pub(crate) state: PathBuf,
    pub(crate) socket: PathBuf,
    /// The daemon's ttrpc socket.
    pub(crate) ttrpc: PathBuf,
}

impl Place {
    pub(crate) fn find(flags: &Flags, boot: Option<&Bootstrap>) -> Result<Self> {
        flags.id.parse::<wharf_types::Id>().map_err(|e| Error::invalid(format!("-id: {e}")))?;
        flags.namespace.parse::<wharf_types::Id>().map_err(|e| Error::invalid(format!("-namespace: {e}")))?;
        let cwd = || env::current_dir().map_err(Error::io("finding the working directory"));
        let bundle = if flags.bundle.as_os_str().is_empty() { cwd()? } else { flags.bundle.clone() };
        let bundle = if bundle.is_absolute() { bundle } else { cwd()?.join(bundle) };
        let said = |words: &str, variable: &str| {
            Some(words.to_owned())
                .filter(|w| !w.is_empty())
                .or_else(|| env::var(variable).ok())
                .filter(|w| !w.is_empty())
        };
        let address = boot.and_then(|b| b.address.clone()).or_else(|| said(&flags.address, "GRPC_ADDRESS"));
        let address = address.unwrap_or_else(|| "/run/wharf/wharf.sock".into());
        let ttrpc = boot.and_then(|b| b.ttrpc_address.clone()).or_else(|| said("", "TTRPC_ADDRESS"));
        let ttrpc = ttrpc.unwrap_or_else(|| format!("{address}.ttrpc"));
        let state = socket::strip(&address).parent().unwrap_or(Path::new("/run/wharf")).to_path_buf();
        let dir = boot.and_then(|b| b.socket_dir.clone()).unwrap_or_else(|| state.join("s"));
        // A bundle without a readable specification can still be cleaned up; who starts reads it again and complains.
        let group = Spec::load(&bundle).map(|s| s.group(&flags.id).to_owned()).unwrap_or_else(|_| flags.id.clone());
        let path = socket::path(&dir, &address, &flags.namespace, &group)?;
        Ok(Self { bundle, state, socket: path, ttrpc: socket::strip(&ttrpc).to_path_buf() })
    }
}

/// Starts a shim, or finds the one that serves the group already, and prints its address.
pub(crate) fn start(flags: &Flags) -> Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().take(INPUT_MAX).read_to_end(&mut input).map_err(Error::io("reading standard input"))?;
    let max = env::var("MAX_SHIM_VERSION").ok();
    let boot = Bootstrap::parse(&input, &flags.id, &flags.namespace, max.as_deref());
    let place = Place::find(flags, Some(&boot))?;
    Spec::load(&place.bundle)?;
    let answer = boot.answer(&format!("unix://{}", place.socket.display()));
    let listener = match socket::claim(&place.socket)? {
        Claim::Served => return print(&answer),
        Claim::Ours(listener) => listener,
    };
    match detach().map_err(Error::io("leaving the shim behind"))? {
        Side::Parent(_) => {
            drop(listener);
            print(&answer)
        }
        Side::Child => {
            settle(&place.bundle, &boot)?;
            serve(Config { namespace: flags.namespace.clone(), place, listener })
        }
    }
}

fn print(answer: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(answer).and_then(|()| out.flush()).map_err(Error::io("answering on standard output"))
}

/// Makes the new process independent of the old one's surroundings.
fn settle(bundle: &Path, boot: &Bootstrap) -> Result<()> {
    let null = |write: bool| OpenOptions::new().read(!write).write(write).open("/dev/null").map(OwnedFd::from);
    // The daemon reads this fifo while it lives. Held open on both sides, and never waited for: a full one loses our words.
    let log = OpenOptions::new().read(true).write(true).custom_flags(libc_nonblock()).open(bundle.join("log"));
    let log = log.map(OwnedFd::from).or_else(|_| null(true));
    let stdio = || -> io::Result<()> { redirect(null(false)?, null(true)?, log?) };
    stdio().map_err(Error::io("redirecting the shim's stdio"))?;
    env::set_current_dir("/").map_err(Error::io("leaving the bundle"))?;
    // Both are comforts that an unprivileged or confined shim may be refused.
    let _ = protect_from_oom();
    if !boot.options.shim_cgroup.is_empty() {
        join_cgroup(&boot.options.shim_cgroup);
    }
    Ok(())
}

fn libc_nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0)
}

/// One step more killable than the daemon, which is what started us, and much less than most.
fn protect_from_oom() -> io::Result<()> {
    let score = fs::read_to_string("/proc/self/oom_score_adj")?;
    let score = score.trim().parse::<i32>().map_err(io::Error::other)?;
    fs::write("/proc/self/oom_score_adj", (score + 1).min(1000).to_string())
}

fn join_cgroup(path: &str) {
    let path = path.trim_start_matches('/');
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path().join(path));
    for dir in hierarchies.chain([root.join(path)]) {
        if let Ok(mut procs) = File::options().write(true).open(dir.join("cgroup.procs")) {
            let _ = procs.write_all(std::process::id().to_string().as_bytes());
        }
    }
}
