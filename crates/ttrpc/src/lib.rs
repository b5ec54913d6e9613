//! The ttrpc protocol: a codec without I/O, a client and a server on tokio.
