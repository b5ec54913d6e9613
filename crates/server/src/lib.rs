//! The gRPC services, each a thin adapter over one trait.
