//! The conformance suites of our own stores, run through the API over a real socket; and plugins that are not there.

#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use wharf_content::{ContentStore, Ingest, LocalStore};
use wharf_proxy::{Plugin, ProxyContent, ProxySnapshotter};
use wharf_server::plugin::{self, Bare};
use wharf_snapshot::overlay::OverlaySnapshotter;
use wharf_snapshot::{Base, Snapshotter};
use wharf_types::{ErrorKind, Kind as _, Labels};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A plugin in this process. Dropped, it is gone, with everything that it held.
struct Server(Option<Runtime>);

impl Server {
    fn start(socket: &Path, bare: Bare) -> Self {
        let runtime = runtime();
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stores = Arc::new(bare.clone());
        let routes = if bare.content.is_some() { plugin::content(stores) } else { plugin::snapshots(stores) };
        runtime.spawn(async move {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            wharf_server::serve(routes, listener, std::future::pending()).await.unwrap();
        });
        Self(Some(runtime))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Waits for calls that are under way, so that what they hold is free.
        drop(self.0.take());
    }
}

fn overlay(root: &Path) -> Bare {
    Bare { snapshotter: Some(Arc::new(OverlaySnapshotter::open(root).unwrap())), content: None }
}

fn local(root: &Path) -> Bare {
    Bare { snapshotter: None, content: Some(Arc::new(LocalStore::open(root).unwrap())) }
}

#[test]
fn a_snapshotter_keeps_its_promises_through_the_api() {
    let client = runtime();
    let servers: RefCell<HashMap<PathBuf, Server>> = RefCell::default();
    wharf_snapshot::testsuite::run(&|root| {
        // The one that was there must be gone first, since it holds the root.
        drop(servers.borrow_mut().remove(root));
        let (store, socket) = (root.join("store"), root.join("s"));
        servers.borrow_mut().insert(root.to_owned(), Server::start(&socket, overlay(&store)));
        Box::new(ProxySnapshotter::new(Plugin::new("overlayfs", &socket, client.handle())))
    });
}

#[test]
fn a_content_store_keeps_its_promises_through_the_api() {
    // Nothing in the API reads an ingest before it is committed.
    const NOT_IN_THE_API: &str = "what_is_written_can_be_read_before_the_commit";
    let client = runtime();
    let cases = wharf_content::testsuite::cases();
    assert!(cases.iter().any(|case| case.name == NOT_IN_THE_API));
    for case in cases.iter().filter(|case| case.name != NOT_IN_THE_API) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let _server = Server::start(&socket, local(&dir.path().join("store")));
        let store = ProxyContent::new(Plugin::new("local", &socket, client.handle()));
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (case.run)(&store)));
        assert!(ran.is_ok(), "{} does not hold", case.name);
    }
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let _server = Server::start(&socket, local(&dir.path().join("store")));
    let store = ProxyContent::new(Plugin::new("local", &socket, client.handle()));
    let writer = store.writer(&Ingest { reference: "r".into(), ..Ingest::default() }).unwrap();
    assert_eq!(writer.reader().err().unwrap().kind(), ErrorKind::Unimplemented);
}

#[test]
fn a_plugin_that_is_not_there_is_named_and_used_once_it_is() {
    let (client, dir) = (runtime(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("s");
    let snapshots = ProxySnapshotter::new(Plugin::new("away", &socket, client.handle()));
    let error = snapshots.stat("x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(&format!("proxy plugin away at {}", socket.display())), "{error}");
    assert_eq!(
        snapshots.walk(&wharf_types::Filters::all(), &mut |_| Ok(())).unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let content = ProxyContent::new(Plugin::new("away", &socket, client.handle()));
    assert_eq!(content.status("x").unwrap_err().kind(), ErrorKind::Unavailable);

    let root = dir.path().join("store");
    for key in ["first", "second"] {
        // It comes, and goes, and comes again; nobody here is told.
        let server = Server::start(&socket, overlay(&root));
        snapshots.prepare(key, Base::Empty, &Labels::new()).unwrap();
        assert_eq!(snapshots.stat(key).unwrap().name, key);
        drop(server);
        assert_eq!(snapshots.stat(key).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn a_plugin_that_does_not_answer_holds_nobody_up() {
    let (client, dir) = (runtime(), tempfile::tempdir().unwrap());
    let socket = dir.path().join("s");
    // Connections come about, and nobody takes them.
    let _listener = UnixListener::bind(&socket).unwrap();
    let plugin = Plugin::new("mute", &socket, client.handle()).deadline(Duration::from_millis(200));
    let began = Instant::now();
    let error = ProxySnapshotter::new(plugin).stat("x").unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("no answer within 200ms"), "{error}");
}
