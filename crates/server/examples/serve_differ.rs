//! Serves our extraction of layers to containerd: `serve_differ SOCKET CONTAINERD`, where the second is the socket of the
//! containerd (2.0 or later) whose content the layers are in; and in its configuration
//!
//! ```toml
//! [proxy_plugins.ours]
//! type = "diff"
//! address = "SOCKET"
//! [plugins."io.containerd.service.v1.diff-service"]
//! default = ["ours"]
//! ```

use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;
use wharf_content::ContentStore;
use wharf_diff::{LayerApplier, LayerComparer};
use wharf_proxy::{Plugin, ProxyContent};
use wharf_server::{Stores, plugin};
use wharf_snapshot::Snapshotter;
use wharf_types::Namespace;

/// The content of a containerd, in the namespace of whoever asks.
struct Containerd {
    socket: PathBuf,
    handle: Handle,
}

impl Stores for Containerd {
    fn content(&self, namespace: &Namespace, _: Option<&str>) -> wharf_metadata::Result<Arc<dyn ContentStore>> {
        let plugin = Plugin::new("containerd", &self.socket, &self.handle).in_namespace(namespace);
        Ok(Arc::new(ProxyContent::new(plugin)))
    }

    fn snapshotter(&self, _: &Namespace, _: &str, _: Option<&str>) -> wharf_metadata::Result<Arc<dyn Snapshotter>> {
        Err(wharf_metadata::Error::Unimplemented("only layers are served here".to_owned()))
    }

    fn collect(&self) -> wharf_metadata::Result<()> {
        Ok(())
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(containerd)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve_differ SOCKET CONTAINERD".into());
    };
    let content = Arc::new(Containerd { socket: containerd.into(), handle: Handle::current() });
    let listener = tokio::net::UnixListener::bind(socket)?;
    let routes = plugin::differ(content, Arc::new(LayerApplier::new()), Arc::new(LayerComparer::new()));
    Ok(wharf_server::serve(routes, listener, std::future::pending()).await?)
}
