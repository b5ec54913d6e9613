//! Starts shims, finds them again, forwards their events.
