//! The project's own commands: `cargo xtask` lists them. What a person runs and what CI runs are the same.

// A program: nothing of it is public, and printing is what it is for.
#![allow(unreachable_pub, clippy::print_stdout)]

mod bench;
mod build;
mod graph;
mod lint;
mod needs;
mod poc;
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds, serves a demo image on loopback, pulls it, runs it, cleans up. With an image: the same with any registry's.
    Poc(poc::Arguments),
    /// Installs what the tests need (Debian, root) or names it, then runs unit, integration and doc tests.
    Test(tests::Arguments),
    /// Formatting, clippy with warnings as errors, and the crate graph.
    Lint,
    /// Checks the crates' dependencies against the table in docs/architecture.md.
    Graph,
    /// Measures against Debian's containerd in the same run and prints ratios.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Poc(arguments) => poc::run(arguments),
        Command::Test(arguments) => tests::run(&arguments),
        Command::Lint => lint::run(),
        Command::Graph => graph::run(),
        Command::Bench(arguments) => bench::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What went wrong, and why; where in this program it was noticed helps nobody.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
