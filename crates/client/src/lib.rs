//! A client for the containerd API.
