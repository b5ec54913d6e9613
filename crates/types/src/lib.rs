//! The words that all crates of Wharf share: [`Digest`], [`Descriptor`], [`Reference`], [`Platform`], [`Labels`],
//! [`Mount`], [`Filters`], identifiers, media types and [`ErrorKind`].
//!
//! It promises that a value of one of its types is well-formed: a digest is sha256 or sha512 with lower-case hex of the
//! right length, an identifier can name a file, a reference is in its normal form. A stranger's text is taken by these
//! grammars or refused with a reason; none makes it panic or take more memory than the text is worth. It never does I/O.
//!
//! ```
//! use wharf_types::Reference;
//!
//! let image: Reference = "busybox".parse()?;
//! assert_eq!(image.to_string(), "docker.io/library/busybox:latest");
//! # Ok::<(), wharf_types::reference::ParseError>(())
//! ```

pub mod any;
pub mod chain;
pub mod descriptor;
pub mod digest;
pub mod error;
pub mod filter;
pub mod id;
pub mod labels;
pub mod media;
pub mod mount;
pub mod platform;
pub mod reference;
pub mod rfc3339;

pub use any::Any;
pub use chain::chain_ids;
pub use descriptor::Descriptor;
pub use digest::Digest;
pub use error::{BoxError, ErrorKind, Kind};
pub use filter::Filters;
pub use id::{Id, Namespace};
pub use labels::{LabelChange, Labels};
pub use mount::Mount;
pub use platform::Platform;
pub use reference::Reference;
