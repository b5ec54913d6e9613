//! Platforms: what an image was made for, and which of several to choose (OCI image index, `platform`; the choice is that
//! of containerd's `platforms.Only`).
//!
//! ```
//! use wharf_types::{Platform, platform};
//!
//! let wanted: Platform = "linux/aarch64".parse()?;
//! let offered: [Platform; 3] = ["linux/amd64".parse()?, "linux/arm/v7".parse()?, "linux/arm64/v8".parse()?];
//! assert_eq!(platform::best(&[wanted], &offered, |one| Some(one)), Some(&offered[2]));
//! # Ok::<(), platform::ParseError>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::descriptor::null_is_default;
use crate::error::{ErrorKind, Kind};

/// An operating system and a processor. An index's author may write anything here: [`Platform::normalized`] puts it into
/// the words that are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor in Go's words: `amd64`, `arm64`, `riscv64`.
    #[serde(default)]
    pub architecture: String,
    /// The operating system in Go's words: `linux`.
    #[serde(default)]
    pub os: String,
    /// The processor's variant, such as `v8`; empty when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub variant: String,
    /// The operating system's version; Windows uses it.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub os_version: String,
    /// Features of the operating system that the image needs.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub os_features: Vec<String>,
}

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a platform: {reason}, wanted os/architecture[/variant] such as linux/amd64")]
pub struct ParseError {
    /// The text, cut to its first 160 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Kind for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Platform {
    /// The platform of this operating system and architecture, in the words that are compared.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = architecture_of(architecture, variant);
        Self { architecture, os: os_of(os), variant, ..Self::default() }
    }

    /// The platform that this program was built for.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture, "")
    }

    /// The same platform in the words that are compared: `x86_64` is `amd64`, `aarch64` and `arm64/v8` are `arm64`, `arm`
    /// is `arm/v7`, `macos` is `darwin`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let normal = Self::new(&self.os, &self.architecture, &self.variant);
        Self { os_version: self.os_version.clone(), os_features: self.os_features.clone(), ..normal }
    }

    /// How well what was made for `offered` runs here: 0 is best, nothing is not at all.
    ///
    /// An arm64 runs the minor versions below its own, then arm/v8 to v5; an arm the versions below its own down to v5; an
    /// amd64 the versions below its own, then 386. Features that `offered` needs must be among this platform's; versions of
    /// the operating system must be equal where both name one.
    #[must_use]
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let (here, offered) = (self.normalized(), offered.normalized());
        let same_version =
            here.os_version.is_empty() || offered.os_version.is_empty() || here.os_version == offered.os_version;
        let features = offered.os_features.iter().all(|feature| here.os_features.contains(feature));
        if here.os != offered.os || !same_version || !features {
            return None;
        }
        let runs = runs(&here.architecture, &here.variant);
        runs.iter()
            .position(|(architecture, variant)| *architecture == offered.architecture && *variant == offered.variant)
    }
}

/// The one of `offered` that fits best: the first wanted platform that anything runs on decides, then
/// [`Platform::rank`], then the order of `offered`. One without a platform is taken when nothing else fits: an index
/// need not say what its only manifest is for.
pub fn best<T>(
    wanted: &[Platform],
    offered: impl IntoIterator<Item = T>,
    platform: impl for<'a> Fn(&'a T) -> Option<&'a Platform>,
) -> Option<T> {
    let rank = |one: &T| match platform(one) {
        Some(offered) => wanted.iter().enumerate().find_map(|(place, wanted)| Some((place, wanted.rank(offered)?))),
        None => Some((usize::MAX, 0)),
    };
    let ranked = offered.into_iter().filter_map(|one| Some((rank(&one)?, one)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, one)| one)
}

/// What an architecture and variant run, the best first.
fn runs(architecture: &str, variant: &str) -> Vec<(String, String)> {
    let mut runs = vec![(architecture.to_owned(), variant.to_owned())];
    let mut add = |architecture: &str, variant: &str| {
        let (architecture, variant) = architecture_of(architecture, variant);
        runs.push((architecture, variant));
    };
    match architecture {
        "amd64" => {
            let version = version(variant).map_or(1, |(major, _)| major);
            (1..version).rev().for_each(|lower| add("amd64", &format!("v{lower}")));
            add("386", "");
        }
        "arm" => {
            let version = version(variant).map_or(0, |(major, _)| major);
            (5..version).rev().for_each(|lower| add("arm", &format!("v{lower}")));
        }
        "arm64" => {
            let (major, minor) = version(variant).unwrap_or((8, 0));
            (0..minor).rev().for_each(|lower| add("arm64", &format!("v{major}.{lower}")));
            // The ninth left the eighth at v8.5: v9.x runs all of v8.(x+5).
            if major == 9 {
                (0..=minor + 5).rev().for_each(|lower| add("arm64", &format!("v8.{lower}")));
            }
            (5..=8).rev().for_each(|lower| add("arm", &format!("v{lower}")));
        }
        _ => {}
    }
    runs
}

/// `v8` and `v8.2` as numbers. Numbers that no processor has are none, so that nobody's text makes a long list.
fn version(variant: &str) -> Option<(u8, u8)> {
    let (major, minor) = match variant.strip_prefix('v')?.split_once('.') {
        Some((major, minor)) => (major.parse().ok()?, minor.parse().ok()?),
        None => (variant.strip_prefix('v')?.parse().ok()?, 0),
    };
    (major <= 16 && minor <= 16).then_some((major, minor))
}

fn os_of(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn architecture_of(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("386" | "i386" | "i686" | "x86", _) => ("386", ""),
        ("amd64" | "x86_64" | "x86-64", "v1" | "1") => ("amd64", ""),
        ("amd64" | "x86_64" | "x86-64", other) => ("amd64", other),
        ("arm64" | "aarch64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("arm64" | "aarch64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("arm64" | "aarch64", other) => ("arm64", other),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// What a lone word may name; everything else needs both parts.
const SYSTEMS: [&str; 11] =
    ["aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "linux", "netbsd", "openbsd", "solaris", "windows"];
const ARCHITECTURES: [&str; 12] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64le", "riscv64", "s390x"];

impl FromStr for Platform {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let refuse = |reason| ParseError { text: text.chars().take(160).collect(), reason };
        let parts: Vec<&str> = text.split('/').collect();
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !parts.iter().all(|part| !part.is_empty() && part.chars().all(word)) {
            return Err(refuse("each part is of letters, digits, '_', '-' and '.'"));
        }
        let host = Self::host();
        match parts.as_slice() {
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            [one] => {
                let (os, (architecture, variant)) = (os_of(one), architecture_of(one, ""));
                if SYSTEMS.contains(&os.as_str()) {
                    Ok(Self { os, ..host })
                } else if ARCHITECTURES.contains(&architecture.as_str()) {
                    Ok(Self { architecture, variant, ..host })
                } else {
                    Err(refuse("it is no operating system and no architecture that is known"))
                }
            }
            _ => Err(refuse("it has more than three parts")),
        }
    }
}

/// `os/architecture[/variant]`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests;
