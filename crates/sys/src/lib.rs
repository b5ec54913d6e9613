//! The kernel: mounts, pidfds, openat2, sync; the one crate where unsafe may stand.
