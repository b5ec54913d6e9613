//! Registries and images for tests, in process, well-behaved and not.
