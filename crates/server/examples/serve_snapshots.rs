//! Serves an overlayfs snapshotter to containerd, or to anybody who asks for snapshots as containerd does:
//! `serve_snapshots SOCKET DIRECTORY`, and in containerd's configuration
//!
//! ```toml
//! [proxy_plugins.ours]
//! type = "snapshot"
//! address = "SOCKET"
//! ```

use std::sync::Arc;

use wharf_server::plugin::{self, Bare};
use wharf_snapshot::overlay::OverlaySnapshotter;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(root)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve_snapshots SOCKET DIRECTORY".into());
    };
    let snapshotter = Arc::new(OverlaySnapshotter::open(root)?);
    let listener = tokio::net::UnixListener::bind(socket)?;
    let routes = plugin::snapshots(Arc::new(Bare { snapshotter: Some(snapshotter), content: None }));
    Ok(wharf_server::serve(routes, listener, std::future::pending()).await?)
}
