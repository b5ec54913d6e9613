//! Wharfd: configuration, wiring, signals.
