//! `oci-hook`: runs a program as an OCI hook with words about the container in its arguments (containerd: the command of the same
//! name, which `ctr run --gpus` puts into specifications).
//!
//! `{{id}}`, `{{pid}}`, `{{bundle}}`, `{{rootfs}}`, `{{status}}` and `{{annotation "KEY"}}` are replaced, in the arguments and in
//! the values of the environment. The container's state comes on standard input (runtime-spec, runtime.md, "Hooks").

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The most bytes of a state that are read.
const STATE_MAX: u64 = 1 << 20;

/// A container's state, as the runtime tells it to a hook.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    id: String,
    status: String,
    pid: u32,
    bundle: PathBuf,
    annotations: BTreeMap<String, String>,
}

/// What is read of a specification.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    root: Root,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Root {
    path: PathBuf,
}

/// Becomes the program that `arguments` begin with.
pub(crate) fn run(arguments: &[String]) -> Result<Infallible> {
    let state = std::io::Read::take(std::io::stdin().lock(), STATE_MAX);
    let state: State = serde_json::from_reader(state).context("read the container's state from standard input")?;
    let file = state.bundle.join("config.json");
    let spec = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let spec: Spec = serde_json::from_slice(&spec).with_context(|| format!("read {}", file.display()))?;
    // An absolute path stays as it is.
    let rootfs = state.bundle.join(spec.root.path);
    let filled = arguments.iter().map(|text| fill(text, &state, &rootfs)).collect::<Result<Vec<_>>>()?;
    let Some((program, rest)) = filled.split_first() else { bail!("oci-hook: which program is to be run?") };
    let mut command = Command::new(program);
    for (name, value) in std::env::vars() {
        // Values are not written for us: what is no word of ours stays.
        command.env(name, fill(&value, &state, &rootfs).unwrap_or(value));
    }
    Err(command.args(rest).exec()).with_context(|| format!("run {program}"))
}

/// The text with its words replaced.
fn fill(text: &str, state: &State, rootfs: &Path) -> Result<String> {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let (word, after) = after.split_once("}}").with_context(|| format!("{text:?}: a {{{{ has no }}}}"))?;
        filled.push_str(before);
        filled.push_str(&match word.trim() {
            "id" => state.id.clone(),
            "pid" => state.pid.to_string(),
            "status" => state.status.clone(),
            "bundle" => state.bundle.display().to_string(),
            "rootfs" => rootfs.display().to_string(),
            other => annotation(other, state).with_context(|| format!("{text:?}: {other:?} is not known"))?,
        });
        rest = after;
    }
    Ok(filled + rest)
}

/// The value of `annotation "KEY"`: empty where there is none of that key.
fn annotation(word: &str, state: &State) -> Option<String> {
    let key: String = serde_json::from_str(word.strip_prefix("annotation")?.trim()).ok()?;
    Some(state.annotations.get(&key).cloned().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_replaced_and_others_refused() {
        let state = State {
            id: "box".into(),
            status: "created".into(),
            pid: 7,
            bundle: "/b".into(),
            annotations: [("a.b/c".to_owned(), "v".to_owned())].into(),
        };
        let fill = |text: &str| fill(text, &state, Path::new("/b/rootfs"));
        for (text, expected) in [
            ("plain", "plain"),
            ("--pid={{pid}}", "--pid=7"),
            ("{{ id }}:{{status}}", "box:created"),
            ("{{bundle}} {{rootfs}}", "/b /b/rootfs"),
            ("{{annotation \"a.b/c\"}}{{annotation \"none\"}}", "v"),
            ("}} {", "}} {"),
        ] {
            assert_eq!(fill(text).unwrap(), expected);
        }
        for text in ["{{pid", "{{uid}}", "{{annotation a}}", "{{}}"] {
            assert!(fill(text).unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
