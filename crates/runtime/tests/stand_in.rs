//! What may stand in runc's place: a program that looks into the bundle and writes its complaints to the log it is given.

#![allow(clippy::unwrap_used, missing_docs)]

use std::os::unix::fs::PermissionsExt as _;

use wharf_runtime::{Children, Error, Runc, Runtime as _};

const PROGRAM: &str = r#"#!/bin/sh
[ "$5" = --log ] || exit 2
[ -f config.json ] || { echo '{"level":"error","msg":"there is no config.json here"}' >> "$6"; exit 1; }
"#;

#[tokio::test]
async fn it_runs_in_the_bundle_and_always_has_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("stand-in");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bundle = dir.path().join("bundle");
    let runtime = Runc::new(program.to_str().unwrap(), dir.path(), Children::default()).in_bundle(&bundle);
    // A bundle that is gone is no reason not to call it.
    match runtime.kill("box", 15, false).await.unwrap_err() {
        Error::Refused { message, .. } => assert_eq!(message, "there is no config.json here"),
        other => panic!("{other}"),
    }
    std::fs::create_dir(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    runtime.kill("box", 15, false).await.unwrap();
}
