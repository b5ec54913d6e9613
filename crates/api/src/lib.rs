//! The containerd API as Rust types: code generated from the `.proto` files under `proto/`.
//!
//! Modules follow the packages: `containerd.services.content.v1` is
//! [`containerd::services::content::v1`]. With the feature `grpc` (the default) each service has a
//! `…_client` and a `…_server` module; without it there are messages only, which is what a shim needs.
//!
//! ```
//! use wharf_api::containerd::types::Mount;
//!
//! let mount = Mount { r#type: "bind".into(), source: "/srv".into(), ..Default::default() };
//! assert_eq!(mount.target, "");
//! ```

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::large_futures,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    rustdoc::all
)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));
