//! Serves a content store to containerd: `serve_content SOCKET DIRECTORY`, and in containerd's configuration
//!
//! ```toml
//! disabled_plugins = ["io.containerd.content.v1.content"]
//! [proxy_plugins.ours]
//! type = "content"
//! address = "SOCKET"
//! ```

use std::sync::Arc;

use wharf_content::LocalStore;
use wharf_server::plugin::{self, Bare};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(socket), Some(root)) = (arguments.next(), arguments.next()) else {
        return Err("usage: serve_content SOCKET DIRECTORY".into());
    };
    let content = Arc::new(LocalStore::open(root)?);
    let listener = tokio::net::UnixListener::bind(socket)?;
    let routes = plugin::content(Arc::new(Bare { content: Some(content), snapshotter: None }));
    Ok(wharf_server::serve(routes, listener, std::future::pending()).await?)
}
