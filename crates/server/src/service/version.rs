//! The daemon's version.

use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::version::v1 as api;

use crate::Services;

/// Answers for the whole daemon.
pub(crate) struct Version(pub(crate) Services);

#[async_trait]
impl api::version_server::Version for Version {
    async fn version(&self, _: Request<()>) -> Result<Response<api::VersionResponse>, Status> {
        let identity = &self.0.identity;
        let (version, revision) = (identity.version.clone(), identity.revision.clone());
        Ok(Response::new(api::VersionResponse { version, revision }))
    }
}
