//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};

/// Fetches images, unpacks them, and supervises containers; speaks containerd's API.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "wharfd", version)]
pub struct Cli {
    /// The configuration file [default: /etc/wharf/config.toml, where it exists].
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The socket that clients are served at; that of shims is the same with .ttrpc after it.
    #[arg(short, long, global = true, value_name = "PATH")]
    pub address: Option<PathBuf>,
    /// What outlives a boot: content, snapshots, records.
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// What one boot needs: bundles and sockets.
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// trace, debug, info, warn, error, fatal or panic.
    #[arg(short, long, global = true, value_name = "LEVEL")]
    pub log_level: Option<config::Level>,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Shows the configuration.
    #[command(subcommand)]
    Config(Show),
    /// Runs a program as an OCI hook, with words such as {{pid}} in its arguments replaced.
    OciHook {
        /// The program and its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Which configuration to show.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Show {
    /// As it is without a file and without flags.
    Default,
    /// As it is with both.
    Dump,
    /// As the file has it, whatever version that is of, written as this version writes it.
    Migrate,
}

impl Cli {
    /// Puts the flags over `config`.
    pub fn over(&self, config: &mut Config) {
        if let Some(address) = &self.address {
            config.grpc.address.clone_from(address);
        }
        if let Some(root) = &self.root {
            config.root.clone_from(root);
        }
        if let Some(state) = &self.state {
            config.state.clone_from(state);
        }
        if let Some(level) = self.log_level {
            config.debug.level = level;
        }
    }
}
