//! What a pull and a container show: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use wharf_client::PullProgress;

/// One bar a blob on a terminal; a line when a blob's state changes elsewhere.
pub struct Bars {
    bars: MultiProgress,
    terminal: bool,
    known: BTreeMap<String, (String, Option<ProgressBar>)>,
}

impl Bars {
    /// No bars yet.
    pub fn new() -> Self {
        Self { bars: MultiProgress::new(), terminal: std::io::stderr().is_terminal(), known: BTreeMap::new() }
    }

    /// Shows one line of progress.
    pub fn show(&mut self, line: &PullProgress) {
        let known = self.known.entry(line.name.clone()).or_default();
        let total = u64::try_from(line.total).unwrap_or(0);
        if self.terminal && total > 0 {
            let bar = known.1.get_or_insert_with(|| self.bars.add(bar(&line.name)));
            bar.set_length(total);
            bar.set_position(u64::try_from(line.progress).unwrap_or(0).min(total));
            bar.set_message(line.event.clone());
        } else if known.0 != line.event && !self.terminal {
            let size = if total > 0 { format!(" ({})", HumanBytes(total)) } else { String::new() };
            eprintln!("          {:>12}  {}{size}", line.event, short(&line.name));
        }
        known.0.clone_from(&line.event);
    }

    /// Takes the bars off the screen: the stage's own line says the rest.
    pub fn finish(&self) {
        for bar in self.known.values().filter_map(|(_, bar)| bar.as_ref()) {
            bar.finish_and_clear();
        }
        // Where the terminal is gone there is nothing to clear.
        let _ = self.bars.clear();
    }
}

fn bar(name: &str) -> ProgressBar {
    // The template is this program's own.
    let style = ProgressStyle::with_template("{prefix:<26} {msg:>11} [{bar:30}] {bytes:>10} / {total_bytes}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
    bar.set_prefix(short(name));
    bar
}

/// `layer-sha256:0123456789ab…` as `layer 0123456789ab`.
fn short(name: &str) -> String {
    match name.split_once("sha256:") {
        Some((kind, hex)) => {
            format!("{} {}", kind.trim_end_matches('-'), hex.get(..12).unwrap_or(hex)).trim().to_owned()
        }
        None => name.to_owned(),
    }
}

/// Prints what the container prints, line by line as it comes, marked.
///
/// # Errors
/// When it cannot be read.
pub async fn print(stdout: Option<Receiver>, stderr: Option<Receiver>) -> anyhow::Result<()> {
    let (out, err) = tokio::join!(relay(stdout, "  | "), relay(stderr, "  ! "));
    out.and(err)
}

async fn relay(stream: Option<Receiver>, mark: &str) -> anyhow::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let (mut chunk, mut begun) = (vec![0; 16 << 10], false);
    loop {
        let length = stream.read(&mut chunk).await.context("read the container's output")?;
        let text = String::from_utf8_lossy(chunk.get(..length).unwrap_or_default()).into_owned();
        let mut out = std::io::stdout().lock();
        for line in text.split_inclusive('\n') {
            let mark = if begun { "" } else { mark };
            write!(out, "{mark}{line}").context("print the container's output")?;
            begun = !line.ends_with('\n');
        }
        if length == 0 {
            if begun {
                writeln!(out).context("print the container's output")?;
            }
            return Ok(());
        }
        out.flush().context("print the container's output")?;
    }
}
