//! Figures beside Debian's containerd in the same run: ratios, since absolute times move with the machine.

mod containers;
mod memory;
mod peer;
mod pull;
mod sample;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::needs;

/// What to measure.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// How many counted runs of each side.
    #[arg(long, global = true)]
    runs: Option<usize>,
    /// The profile to build with.
    #[arg(long, global = true, default_value = "release")]
    profile: String,
}

#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Pulling and unpacking an image of over 500 MB, cold, from docker-registry on loopback.
    Pull,
    /// Create, start, wait and delete of `true`.
    Start,
    /// Resident and proportional memory of the daemon and of shims.
    Memory,
}

/// Measures one thing, or all.
///
/// # Errors
/// The first thing that cannot be measured.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(needs::is_root(), "running containers needs root: run it as root");
    needs::ensure(needs::TEST)?;
    let programs = crate::build::programs(&arguments.profile)?;
    let runtime = tokio::runtime::Runtime::new().context("start the asynchronous runtime")?;
    let wanted = |what| arguments.what.is_none_or(|only| only == what);
    println!("{}", peer::machine());
    if wanted(What::Memory) {
        runtime.block_on(memory::measure(&programs))?;
    }
    if wanted(What::Start) {
        runtime.block_on(containers::measure(&programs, arguments.runs.unwrap_or(40)))?;
    }
    if wanted(What::Pull) {
        runtime.block_on(pull::measure(&programs, arguments.runs.unwrap_or(5)))?;
    }
    Ok(())
}
