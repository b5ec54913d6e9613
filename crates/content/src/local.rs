//! The store in a directory.

/// Being written.
#[derive(Debug)]
pub struct LocalStore;
