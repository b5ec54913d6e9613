//! Promise: the README's first command goes the whole way of an image, shows each stage with its time, and leaves nothing.

use std::path::Path;
use std::process::Command;

use wharf_integration::command::{Finished, run};
use wharf_integration::images;
use wharf_integration::registry::DockerRegistry;

/// `cargo xtask poc`, with temporary files below `folder`.
fn poc(folder: &Path, words: &[&str]) -> Finished {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).env("TMPDIR", folder);
    run(cargo.args(["xtask", "poc", "--profile", "dev"]).args(words))
}

/// Nothing is left below `folder`: no file, no mount, no process.
fn nothing_left(folder: &Path) -> anyhow::Result<()> {
    let files: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().starts_with("wharf-")), "{files:?} are left");
    let name = folder.display().to_string();
    assert!(!std::fs::read_to_string("/proc/self/mountinfo")?.contains(&name), "a mount is left");
    let shims = run(Command::new("pgrep").args(["-f", &name]));
    assert_eq!(shims.stdout, "", "a process is left");
    Ok(())
}

#[test]
fn the_demo() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let said = poc(folder.path(), &[]).ok()?;
    assert!(said.contains("  | Hello from a container."), "{said}");
    for stage in ["build", "demo", "registry", "daemon", "pull", "create", "start", "run", "delete", "clean up", "all"]
    {
        let line = said.lines().find(|line| line.starts_with(stage));
        assert!(line.is_some_and(|line| line.contains(" ms")), "no line for {stage}: {said}");
    }
    assert!(said.contains("exit status 0"), "{said}");
    nothing_left(folder.path())
}

#[test]
fn any_registrys_image_and_any_command() -> anyhow::Result<()> {
    let (folder, registry_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = DockerRegistry::start(registry_folder.path())?;
    registry.push(&images::busybox(registry_folder.path())?, "busybox:latest")?;
    let reference = registry.reference("busybox:latest");
    let said = poc(folder.path(), &[&reference, "--", "sh", "-c", "echo from busybox; exit 7"]);
    assert_eq!(said.status, 7, "{said:?}");
    assert!(said.stdout.contains("  | from busybox"), "{said:?}");
    nothing_left(folder.path())
}

#[test]
fn an_image_that_is_not_there_is_named_and_nothing_stays() -> anyhow::Result<()> {
    let (folder, registry_folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let registry = DockerRegistry::start(registry_folder.path())?;
    let reference = registry.reference("nothing:here");
    let said = poc(folder.path(), &[&reference]).refused()?;
    assert!(said.contains(&reference), "{said}");
    nothing_left(folder.path())
}
