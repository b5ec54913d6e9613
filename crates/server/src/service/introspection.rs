//! What the daemon says of itself and of its parts.

use std::os::unix::fs::MetadataExt;

use prost::Message as _;
use tonic::{Request, Response, Status, async_trait};
use wharf_api::containerd::services::introspection::v1 as api;
use wharf_api::containerd::types::RuntimeRequest;
use wharf_types::filter::FieldsFn;

use crate::Services;
use crate::convert::{self, any, from_any, platform, type_name};
use crate::refuse::{refuse, unimplemented};

/// Answers from the daemon's identity.
pub(crate) struct Introspection(pub(crate) Services);

/// The gRPC services, by containerd's names of the plugins that serve them.
const GRPC: &[&str] = &[
    "containers",
    "content",
    "diff",
    "events",
    "healthcheck",
    "images",
    "introspection",
    "leases",
    "namespaces",
    "sandbox-controllers",
    "sandboxes",
    "snapshots",
    "streaming",
    "tasks",
    "transfer",
    "version",
];

/// The plugin that can be asked about runtimes.
const RUNTIMES: (&str, &str) = ("io.containerd.runtime.v2", "task");

/// When containers are started again: what `nerdctl` looks for before it lets its user ask for one of these.
const RESTARTS: &[&str] = &["no", "always", "on-failure", "unless-stopped"];

#[async_trait]
impl api::introspection_server::Introspection for Introspection {
    async fn plugins(&self, request: Request<api::PluginsRequest>) -> Result<Response<api::PluginsResponse>, Status> {
        let filters = convert::filters(&request.into_inner().filters)?;
        let mut plugins = self.plugins();
        plugins.retain(|plugin| filters.matches(&FieldsFn(|path: &[&str]| field(plugin, path))));
        Ok(Response::new(api::PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<api::ServerResponse>, Status> {
        Ok(Response::new(api::ServerResponse {
            uuid: self.0.identity.uuid.clone(),
            pid: std::process::id().into(),
            // Nothing depends on it but clients that compare it with their own.
            pidns: std::fs::metadata("/proc/self/ns/pid").map(|ns| ns.ino()).unwrap_or_default(),
            deprecations: Vec::new(),
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<api::PluginInfoRequest>,
    ) -> Result<Response<api::PluginInfoResponse>, Status> {
        let request = request.into_inner();
        let (kind, id) = (&request.r#type, &request.id);
        let plugin = self.plugins().into_iter().find(|plugin| plugin.r#type == *kind && plugin.id == *id);
        let plugin = plugin.ok_or_else(|| Status::not_found(format!("plugin {kind}.{id}: not found")))?;
        let extra = match request.options {
            None => None,
            Some(options) if (kind.as_str(), id.as_str()) == RUNTIMES => Some(self.runtime(options).await?),
            Some(_) => return Err(unimplemented(format!("plugin {kind}.{id} says no more of itself"))),
        };
        Ok(Response::new(api::PluginInfoResponse { plugin: Some(plugin), extra }))
    }
}

impl Introspection {
    /// What a runtime's shim says of itself: `options` is a `RuntimeRequest`.
    async fn runtime(&self, options: prost_types::Any) -> Result<prost_types::Any, Status> {
        if type_name(&options.type_url) != "containerd.types.RuntimeRequest" {
            return Err(unimplemented(format!(
                "options of type {:?} are not understood: send a containerd.types.RuntimeRequest",
                options.type_url
            )));
        }
        let request = RuntimeRequest::decode(options.value.as_slice())
            .map_err(|error| Status::invalid_argument(format!("options {:?}: {error}", options.type_url)))?;
        let info = self.0.tasks.runtime_info(&request.runtime_path, request.options.map(from_any)).await;
        info.map(any).map_err(refuse)
    }

    /// What a containerd with the same abilities would list, so that clients that look for a part find it.
    fn plugins(&self) -> Vec<api::Plugin> {
        let identity = &self.0.identity;
        let here = || vec![platform(identity.platform.clone())];
        let plugin = |kind: &str, id: &str| api::Plugin { r#type: kind.into(), id: id.into(), ..Default::default() };
        let mut plugins = vec![
            plugin("io.containerd.content.v1", "content"),
            plugin("io.containerd.metadata.v1", "redb"),
            plugin("io.containerd.gc.v1", "scheduler"),
            plugin("io.containerd.event.v1", "exchange"),
            plugin("io.containerd.sandbox.store.v1", "local"),
            api::Plugin {
                capabilities: RESTARTS.iter().map(|&policy| policy.to_owned()).collect(),
                ..plugin("io.containerd.monitor.container.v1", "restart")
            },
            plugin("io.containerd.sandbox.controller.v1", "shim"),
            api::Plugin { platforms: here(), ..plugin("io.containerd.differ.v1", "walking") },
            api::Plugin { platforms: here(), ..plugin("io.containerd.runtime.v2", "task") },
        ];
        plugins.extend(identity.snapshotters.iter().map(|name| {
            let root = format!("{}/io.containerd.snapshotter.v1.{name}", identity.root);
            let exports = [("root".to_owned(), root)].into();
            api::Plugin { platforms: here(), exports, ..plugin("io.containerd.snapshotter.v1", name) }
        }));
        plugins.extend(GRPC.iter().map(|name| plugin("io.containerd.grpc.v1", name)));
        plugins
    }
}

fn field(plugin: &api::Plugin, path: &[&str]) -> Option<String> {
    match path {
        ["type"] => Some(plugin.r#type.clone()),
        ["id"] => Some(plugin.id.clone()),
        ["capabilities", name] => plugin.capabilities.iter().find(|has| has == name).map(|_| String::new()),
        ["platforms"] => {
            let names = plugin.platforms.iter().map(|p| format!("{}/{}", p.os, p.architecture));
            Some(names.collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}
