//! Drives an OCI runtime through its command line.
