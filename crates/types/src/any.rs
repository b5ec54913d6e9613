//! A message of any type, with the name of its type beside it.

use serde::{Deserialize, Serialize};

/// `google.protobuf.Any` without a protobuf library: records keep foreign messages as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Any {
    /// Names the type of `value`, such as `types.containerd.io/opencontainers/runtime-spec/1/Spec`.
    pub type_url: String,
    /// The encoded message, in the encoding that the type calls for.
    pub value: Vec<u8>,
}
