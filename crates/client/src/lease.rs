//! Leases: what is made under one is not collected while it lives.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use wharf_api::containerd::services::leases::v1::{CreateRequest, DeleteRequest};

use wharf_types::rfc3339;

use crate::{Client, Error, Result};

/// How long a lease lives whose owner never came to release it (containerd's client: the same).
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// A lease. One that is not released ends a day after it was made.
#[derive(Debug)]
pub struct Lease {
    client: Client,
    id: String,
}

impl Client {
    /// Makes a lease.
    ///
    /// # Errors
    /// The server's own.
    pub async fn lease(&self) -> Result<Lease> {
        let doing = "make a lease";
        let expires = rfc3339::format(SystemTime::now() + EXPIRES);
        let labels = HashMap::from([(wharf_types::labels::GC_EXPIRE.to_owned(), expires)]);
        let answer = self.leases().create(CreateRequest { id: String::new(), labels }).await;
        let lease = answer.map_err(Error::during(doing))?.into_inner().lease;
        let id = lease.ok_or(Error::Answer { doing: doing.to_owned(), missing: "lease" })?.id;
        Ok(Lease { client: self.clone(), id })
    }
}

impl Lease {
    /// The client under this lease.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.under_lease(&self.id)
    }

    /// Ends the lease: what nothing else holds may be collected from now on.
    ///
    /// # Errors
    /// The server's own.
    pub async fn release(self) -> Result<()> {
        let doing = Error::during(format!("release lease {}", self.id));
        self.client.leases().delete(DeleteRequest { id: self.id, sync: false }).await.map_err(doing)?;
        Ok(())
    }
}
