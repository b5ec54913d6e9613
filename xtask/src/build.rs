//! Building the programs, by the cargo that runs this.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What cargo told this program of itself: build scripts look at some of it, and would build anew what a person has built.
    let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| name.starts_with(prefix))
    });
    for name in told {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or fails, with its words.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("start {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails, with its words.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("start {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When cargo does not say.
pub fn target_directory() -> anyhow::Result<PathBuf> {
    let text = output(cargo().args(["metadata", "--locked", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("read what cargo metadata says")?;
    let folder = metadata.get("target_directory").and_then(|folder| folder.as_str());
    Ok(folder.context("cargo metadata names no target directory")?.into())
}

/// Builds the daemon and the shim and returns the folder they are in.
///
/// # Errors
/// When they do not build.
pub fn programs(profile: &str) -> anyhow::Result<PathBuf> {
    let packages = ["--package=wharf-daemon", "--package=wharf-shim"];
    run(cargo().args(["build", "--locked", "--bins", "--profile", profile]).args(packages))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target_directory()?.join(folder))
}

/// Builds the static program of the demo image, with nothing but the compiler, and returns its path.
///
/// # Errors
/// When it does not build.
pub fn demo(folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("hello");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.current_dir(root()).args(["--edition=2024", "-O", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    run(rustc.arg("-o").arg(&program).arg("xtask/demo/hello.rs"))?;
    Ok(program)
}
