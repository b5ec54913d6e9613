//! The two messages that carry every call (containerd/ttrpc, request.proto), and the status in the second.

use bytes::Bytes;

/// A call.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Request {
    /// The service's full name, such as `containerd.task.v3.Task`.
    #[prost(string, tag = "1")]
    pub service: String,
    /// The method's name.
    #[prost(string, tag = "2")]
    pub method: String,
    /// The encoded argument.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// How long the caller will wait, in nanoseconds; 0 for ever.
    #[prost(int64, tag = "4")]
    pub timeout_nano: i64,
    /// What travels beside the argument.
    #[prost(message, repeated, tag = "5")]
    pub metadata: Vec<KeyValue>,
}

/// A pair of metadata.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KeyValue {
    /// The key; keys may repeat.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A call's outcome.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Response {
    /// Why it failed; absent or of code 0 where it did not.
    #[prost(message, optional, tag = "1")]
    pub status: Option<RpcStatus>,
    /// The encoded result.
    #[prost(bytes = "bytes", tag = "2")]
    pub payload: Bytes,
}

/// `google.rpc.Status` without its details.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RpcStatus {
    /// A `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// What a person reads.
    #[prost(string, tag = "2")]
    pub message: String,
}
