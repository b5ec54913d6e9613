//! Pushing images: the server sends, this side watches.

use wharf_api::containerd::types::Platform;
use wharf_api::containerd::types::transfer as api;

use crate::pull::{PullProgress, any, registry};
use crate::{Client, Result};

/// How to push.
#[derive(Clone, Default)]
pub struct PushOptions {
    /// Speaks plain HTTP also to hosts that are not this machine.
    pub plain_http: bool,
    /// A user's name and password for the registry.
    pub credentials: Option<(String, String)>,
    /// The platforms of an index whose images are pushed; all when none is named.
    pub platforms: Vec<wharf_types::Platform>,
}

impl std::fmt::Debug for PushOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        let user = self.credentials.as_ref().map(|(user, _)| user);
        f.debug_struct("PushOptions")
            .field("plain_http", &self.plain_http)
            .field("user", &user)
            .field("platforms", &self.platforms)
            .finish()
    }
}

impl Client {
    /// Has the server push the image that it knows as `image` to `reference`, and calls `progress` as it goes.
    ///
    /// # Errors
    /// The server's own: `NotFound`, `Unauthenticated`, `Unavailable`, …
    pub async fn push(
        &self,
        image: &str,
        reference: &str,
        options: &PushOptions,
        progress: impl FnMut(PullProgress) + Send,
    ) -> Result<()> {
        let auth_stream = match options.credentials.clone() {
            Some(credentials) => self.answer_credentials(credentials).await?,
            None => String::new(),
        };
        let platforms = options.platforms.iter().cloned().map(platform).collect();
        let source = api::ImageStore { name: image.to_owned(), platforms, ..api::ImageStore::default() };
        let source = any("containerd.types.transfer.ImageStore", &source);
        let destination = registry(reference, options.plain_http, auth_stream);
        self.watch_transfer(format!("push {image} to {reference}"), source, destination, progress).await
    }
}

/// A platform as the API has it.
pub(crate) fn platform(platform: wharf_types::Platform) -> Platform {
    Platform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.variant,
        os_version: platform.os_version,
        os_features: platform.os_features,
    }
}
