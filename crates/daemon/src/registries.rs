//! Resolvers as the configuration and each client want them.

use std::collections::HashMap;
use std::sync::Arc;

use wharf_fetch::{Config, RegistryResolver, Resolver, Scheme};
use wharf_server::{Access, Registries};

/// What the configuration says of registries.
pub(crate) struct Configured {
    schemes: HashMap<String, Scheme>,
}

impl Configured {
    /// Speaks plain HTTP to these registries.
    pub(crate) fn new(plain_http: &[String]) -> Self {
        Self { schemes: plain_http.iter().map(|registry| (registry.clone(), Scheme::Http)).collect() }
    }
}

impl Registries for Configured {
    fn resolver(&self, access: Access) -> wharf_fetch::Result<Arc<dyn Resolver>> {
        let mut config = Config {
            default_scheme: access.scheme,
            schemes: self.schemes.clone(),
            headers: access.headers,
            ..Config::default()
        };
        if let Some(credentials) = access.credentials {
            config.credentials = credentials;
        }
        Ok(Arc::new(RegistryResolver::new(config)?))
    }
}
