//! What is asked of sandboxes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use wharf_api::containerd::runtime::sandbox::v1 as api;
use wharf_api::containerd::types::Metric;
use wharf_ttrpc::Code;
use wharf_types::{Id, Namespace, Platform};

use super::{CreateSandbox, SERVICE, SandboxController, ShimAddress};
use crate::convert::time_in;
use crate::error::{Error, Result};
use crate::task::unknown_exit;
use crate::{Exit, ShimManager};

#[async_trait]
impl SandboxController for ShimManager {
    async fn create(&self, namespace: &Namespace, id: &Id, create: CreateSandbox) -> Result<()> {
        let (inner, key) = (Arc::clone(&self.inner), (namespace.clone(), id.clone()));
        // Once begun it is gone through with: whoever gave up finds it by its name.
        finish(tokio::spawn(async move { inner.create_sandbox(key, create).await })).await
    }

    async fn start(&self, namespace: &Namespace, id: &str) -> Result<(api::StartSandboxResponse, ShimAddress)> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let inner = Arc::clone(&self.inner);
        let started = async move {
            let request = api::StartSandboxRequest { sandbox_id: sandbox.name() };
            match sandbox.call("StartSandbox", &request, inner.config.timeouts.slow).await {
                Ok(started) => Ok((started, sandbox.address())),
                Err(error) => {
                    if sandbox.claim() {
                        inner.end_sandbox(&sandbox).await;
                    }
                    Err(error)
                }
            }
        };
        finish(tokio::spawn(started)).await
    }

    async fn platform(&self, namespace: &Namespace, id: &str) -> Result<Platform> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::PlatformRequest { sandbox_id: sandbox.name() };
        let answer: api::PlatformResponse =
            sandbox.call("Platform", &request, self.inner.config.timeouts.quick).await?;
        let platform = answer.platform.unwrap_or_default();
        let (os, architecture, variant) = (platform.os, platform.architecture, platform.variant);
        Ok(Platform { os, architecture, variant, os_version: String::new(), os_features: Vec::new() })
    }

    async fn stop(&self, namespace: &Namespace, id: &str, limit: Option<Duration>) -> Result<()> {
        let Ok(sandbox) = self.inner.sandbox(namespace, id) else { return Ok(()) };
        let timeout_secs = limit.map_or(0, |limit| u32::try_from(limit.as_secs()).unwrap_or(u32::MAX));
        let request = api::StopSandboxRequest { sandbox_id: sandbox.name(), timeout_secs };
        let longest = self.inner.config.timeouts.slow.saturating_add(limit.unwrap_or_default());
        match sandbox.call::<_, api::StopSandboxResponse>("StopSandbox", &request, longest).await {
            Err(Error::Shim(status)) if !matches!(status.code, Code::NotFound | Code::Unavailable) => {
                Err(Error::Shim(status))
            }
            Err(error @ Error::Silent { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    async fn wait(&self, namespace: &Namespace, id: &str) -> Result<Exit> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::WaitSandboxRequest { sandbox_id: sandbox.name() };
        loop {
            let Ok(client) = sandbox.shim.heard().await else { return Ok(unknown_exit()) };
            let answer: Result<api::WaitSandboxResponse, _> =
                sandbox.shim.call_service_over(SERVICE, &client, "WaitSandbox", &request).await;
            match answer {
                Ok(answer) => return Ok(Exit { pid: 0, status: answer.exit_status, at: time_in(answer.exited_at) }),
                Err(_) if client.is_closed() => {}
                Err(status) => return Err(sandbox.explain(Error::Shim(status))),
            }
        }
    }

    async fn status(
        &self,
        namespace: &Namespace,
        id: &str,
        verbose: bool,
    ) -> Result<(api::SandboxStatusResponse, ShimAddress)> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::SandboxStatusRequest { sandbox_id: sandbox.name(), verbose };
        let answer = sandbox.call("SandboxStatus", &request, self.inner.config.timeouts.quick).await?;
        Ok((answer, sandbox.address()))
    }

    async fn shutdown(&self, namespace: &Namespace, id: &str) -> Result<()> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let inner = Arc::clone(&self.inner);
        let ended = async move {
            let request = api::ShutdownSandboxRequest { sandbox_id: sandbox.name() };
            let limit = inner.config.timeouts.slow;
            match sandbox.call::<_, api::ShutdownSandboxResponse>("ShutdownSandbox", &request, limit).await {
                // It may end before it answers.
                Ok(_) | Err(Error::Dead(_)) => {}
                Err(Error::Silent { .. }) if sandbox.shim.dead(inner.config.timeouts.shutdown).await => {}
                Err(error) => return Err(error),
            }
            if sandbox.claim() {
                inner.remove_sandbox(&sandbox).await;
            }
            Ok(())
        };
        finish(tokio::spawn(ended)).await
    }

    async fn metrics(&self, namespace: &Namespace, id: &str) -> Result<Option<Metric>> {
        let sandbox = self.inner.sandbox(namespace, id)?;
        let request = api::SandboxMetricsRequest { sandbox_id: sandbox.name() };
        let answer: api::SandboxMetricsResponse =
            sandbox.call("SandboxMetrics", &request, self.inner.config.timeouts.quick).await?;
        Ok(answer.metrics)
    }

    fn find(&self, namespace: &Namespace, id: &str) -> Result<ShimAddress> {
        self.inner.sandbox(namespace, id).map(|sandbox| sandbox.address())
    }
}

async fn finish<T>(work: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    work.await.unwrap_or_else(|error| Err(Error::Internal(format!("work on a sandbox broke off: {error}"))))
}
