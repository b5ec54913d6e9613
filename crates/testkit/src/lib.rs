//! Registries, images and daemons for tests, in process, well-behaved and not.
//!
//! [`image`] makes images in memory, [`registry`] serves them on loopback and misbehaves when told to, [`daemon`] starts
//! and kills daemons in folders of their own.

pub mod daemon;
pub mod image;
pub mod registry;
