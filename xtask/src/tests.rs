//! Unit, integration and doc tests, with what they need installed.

use anyhow::Context as _;
use clap::Args;

use crate::{build, needs};

/// What to test.
#[derive(Args)]
pub struct Arguments {
    /// Only this package (`wharf-content`, `wharf-integration`, …).
    #[arg(short, long)]
    package: Option<String>,
    /// What cargo test takes after `--`, such as a test's name.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Installs what is missing, builds the programs that the integration tests drive, and runs the tests.
///
/// # Errors
/// What is missing and cannot be installed; a test that fails.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::ensure!(needs::is_root(), "the tests mount filesystems and run containers: run them as root");
    needs::ensure(needs::TEST)?;
    let programs = build::programs("dev").context("build the programs that the integration tests drive")?;
    let mut cargo = build::cargo();
    cargo.args(["test", "--locked", "--no-fail-fast"]).env("WHARF_PROGRAMS", programs);
    match &arguments.package {
        Some(package) => cargo.args(["--package", package]),
        None => cargo.arg("--workspace"),
    };
    if !arguments.rest.is_empty() {
        cargo.arg("--").args(&arguments.rest);
    }
    build::run(&mut cargo)
}
