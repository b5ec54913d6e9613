//! Pull: the only place where registries meet the stores.
