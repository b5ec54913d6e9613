//! Compiles `proto/` in pure Rust: protox reads the files, prost and tonic write the code.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [&root])?;
    let mut messages = prost_build::Config::new();
    messages.include_file("all.rs").bytes([
        ".containerd.services.content.v1.WriteContentRequest.data",
        ".containerd.services.content.v1.ReadContentResponse.data",
    ]);
    if std::env::var_os("CARGO_FEATURE_GRPC").is_some() {
        tonic_prost_build::configure().build_transport(false).compile_fds_with_config(descriptors, messages)?;
    } else {
        messages.compile_fds(descriptors)?;
    }
    Ok(())
}

/// Lists every `.proto` file below `dir`.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
