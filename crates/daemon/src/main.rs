//! The daemon's program: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    wharf_sys::memory::give_back();
    wharf_daemon::main(wharf_daemon::cli::Cli::parse())
}
