//! Platforms: what an image was made for, and which of several to choose.

use serde::{Deserialize, Serialize};

/// An operating system and a processor (OCI image index, `platform`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor in Go's words: `amd64`, `arm64`, `riscv64`.
    pub architecture: String,
    /// The operating system in Go's words: `linux`.
    pub os: String,
    /// The processor's variant, such as `v8`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system's version; Windows uses it.
    #[serde(default, rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system that the image needs.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}
