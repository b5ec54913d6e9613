//! Descriptors: a blob's type, digest and size (OCI image specification, "Descriptor").

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Digest, Platform};

/// The largest size that is taken: sizes are signed 64-bit numbers in the specification and on the wire.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Points at a blob. Parsed from a stranger's JSON it has a well-formed digest and a size of 0 to [`MAX_SIZE`]; fields that
/// nobody here reads (`urls`, `data`, `artifactType`) are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the blob.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Whatever the author noted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// A descriptor without annotations and platform.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.into(), digest, size, annotations: BTreeMap::new(), platform: None }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size <= MAX_SIZE {
        Ok(size)
    } else {
        Err(serde::de::Error::custom(format_args!("a size of {size} bytes, {MAX_SIZE} are allowed")))
    }
}

/// What encoders of other languages write for an empty list or map.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(size: &str, digest: &str, rest: &str) -> String {
        format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size}{rest}}}"#)
    }

    #[test]
    fn takes_what_the_specification_has_and_passes_over_the_rest() {
        let digest = Digest::of(b"x");
        let rest = r#","annotations":{"a":"b"},"platform":{"os":"linux","architecture":"arm","variant":"v7"},
            "urls":["https://a.b/"],"data":"eA==","artifactType":"c/d","new":{"x":[1]}"#;
        let parsed: Descriptor = serde_json::from_str(&json("1", &digest.to_string(), rest)).unwrap();
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let platform = Some("linux/arm/v7".parse().unwrap());
        assert_eq!(parsed, Descriptor { annotations, platform, ..Descriptor::new("a/b", digest.clone(), 1) });
        let written = serde_json::to_string(&parsed).unwrap();
        assert_eq!(serde_json::from_str::<Descriptor>(&written).unwrap(), parsed);

        let nulls = json("0", &digest.to_string(), r#","annotations":null,"platform":null"#);
        assert_eq!(serde_json::from_str::<Descriptor>(&nulls).unwrap(), Descriptor::new("a/b", digest, 0));
    }

    #[test]
    fn odd_sizes_and_digests_are_refused() {
        let digest = Digest::of(b"x").to_string();
        for size in ["-1", "1.5", "1e30", "9223372036854775808", "18446744073709551616", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Descriptor>(&json(size, &digest, "")).is_err(), "{size}");
        }
        assert!(serde_json::from_str::<Descriptor>(&json("9223372036854775807", &digest, "")).is_ok());
        for digest in ["", "sha256:../..", "md5:00"] {
            let error = serde_json::from_str::<Descriptor>(&json("1", digest, "")).unwrap_err();
            assert!(error.to_string().contains("is not a digest"), "{error}");
        }
    }
}
