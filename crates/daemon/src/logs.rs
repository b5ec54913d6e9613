//! Logs: structured lines on standard error.

use tracing_subscriber::EnvFilter;

use crate::config::{Debug, Format, Level};

/// Crates whose inner life is of no interest below this level.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,rustls=warn,tower=warn";

/// Has all of the process log as `config` says.
pub(crate) fn start(config: &Debug) {
    let level = match config.level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error | Level::Fatal | Level::Panic => "error",
    };
    let filter = EnvFilter::new(format!("{level},{QUIET}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call changes nothing: whoever embeds the daemon may have set up logs already.
    let _ = match config.format {
        Format::Text => lines.with_ansi(false).try_init(),
        Format::Json => lines.json().try_init(),
    };
}
