//! Formatting, clippy with warnings as errors, and the crate graph.

use crate::{build, graph};

/// Runs all of it.
///
/// # Errors
/// The first that is not clean.
pub fn run() -> anyhow::Result<()> {
    build::run(build::cargo().args(["fmt", "--all", "--check"]))?;
    graph::run()?;
    let clippy = ["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"];
    build::run(build::cargo().args(clippy))
}
