//! A client and a server over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use wharf_ttrpc::codec::MAX_MESSAGE;
use wharf_ttrpc::{BoxFuture, CallOptions, Client, Code, Context, Handler, NAMESPACE_KEY, Server, Status};

#[derive(Default)]
struct Demo {
    begun: Notify,
    release: Notify,
    dropped: Arc<Notify>,
    calls: AtomicUsize,
}

/// Tells that a future was dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Handler for Demo {
    fn call<'a>(&'a self, context: Context, method: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            self.calls.fetch_add(1, Ordering::SeqCst);
            match method {
                "Echo" => Ok(payload.to_vec()),
                "Namespace" => Ok(prost::Message::encode_to_vec(&context.namespace().unwrap_or("none").to_owned())),
                "Refuse" => Err(Status::new(Code::NotFound, "task x: not found")),
                "Panic" => panic!("on purpose"),
                "Long" => Ok(vec![0; MAX_MESSAGE + 1]),
                "Hang" => {
                    let _dropped = OnDrop(Arc::clone(&self.dropped));
                    self.begun.notify_one();
                    pending().await
                }
                "Held" => {
                    self.begun.notify_one();
                    self.release.notified().await;
                    Ok(Vec::new())
                }
                other => Err(Status::unknown_method(other)),
            }
        })
    }
}

struct Running {
    _dir: tempfile::TempDir,
    socket: std::path::PathBuf,
    demo: Arc<Demo>,
    stop: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
}

fn serve() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let (demo, stop) = (Arc::new(Demo::default()), Arc::new(Notify::new()));
    let server = Server::new().service("demo.Demo", Arc::clone(&demo) as Arc<dyn Handler>);
    let stopped = Arc::clone(&stop);
    let server = server.serve(UnixListener::bind(&socket).unwrap(), async move { stopped.notified().await });
    Running { _dir: dir, socket, demo, stop, server: tokio::spawn(server) }
}

async fn call(client: &Client, method: &str, words: &str) -> Result<String, Status> {
    client.call("demo.Demo", method, &words.to_owned(), &CallOptions::default()).await
}

#[tokio::test]
async fn calls_go_side_by_side_and_a_slow_one_delays_none() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let slow = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "Held", "").await }
    });
    running.demo.begun.notified().await;
    let echoes: Vec<_> = (0..200)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, "Echo", &"x".repeat(n * 100)).await.unwrap().len() == n * 100 })
        })
        .collect();
    for echo in echoes {
        assert!(echo.await.unwrap());
    }
    assert!(!slow.is_finished());
    running.demo.release.notify_one();
    slow.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_failure_has_its_code_and_ends_nothing_else() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let refused = call(&client, "Refuse", "").await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::NotFound, "task x: not found"));
    let unknown = call(&client, "Nonsense", "").await.unwrap_err();
    assert_eq!((unknown.code, unknown.message.as_str()), (Code::Unimplemented, "method Nonsense"));
    let options = CallOptions::default();
    let unknown = client.call::<(), ()>("no.Such", "X", &(), &options).await.unwrap_err();
    assert_eq!((unknown.code, unknown.message.as_str()), (Code::Unimplemented, "service no.Such"));
    assert_eq!(call(&client, "Panic", "").await.unwrap_err().code, Code::Internal);
    assert_eq!(call(&client, "Long", "").await.unwrap_err().code, Code::ResourceExhausted);
    let long = "x".repeat(MAX_MESSAGE);
    assert_eq!(call(&client, "Echo", &long).await.unwrap_err().code, Code::ResourceExhausted);
    assert_eq!(call(&client, "Echo", "still here").await.unwrap(), "still here");
}

#[tokio::test]
async fn metadata_carries_the_namespace() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let options = CallOptions { metadata: vec![(NAMESPACE_KEY.into(), "k8s.io".into())], ..Default::default() };
    let answer: String = client.call("demo.Demo", "Namespace", &(), &options).await.unwrap();
    assert_eq!(answer, "k8s.io");
    assert_eq!(call(&client, "Namespace", "").await.unwrap(), "none");
}

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let options = CallOptions { timeout: Some(Duration::from_millis(20)), ..Default::default() };
    let late = client.call::<(), ()>("demo.Demo", "Hang", &(), &options).await.unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    running.demo.dropped.notified().await;
    assert_eq!(call(&client, "Echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn a_call_that_was_given_up_is_forgotten() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let held = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "Held", "").await }
    });
    running.demo.begun.notified().await;
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    running.demo.release.notify_one();
    assert_eq!(call(&client, "Echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn the_end_of_the_connection_fails_what_waits() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let hung = tokio::spawn({
        let client = client.clone();
        async move { call(&client, "Hang", "").await }
    });
    running.demo.begun.notified().await;
    running.server.abort();
    let status = hung.await.unwrap().unwrap_err();
    assert_eq!((status.code, status.message.as_str()), (Code::Unavailable, "ttrpc: closed"));
    client.closed().await;
    assert!(client.is_closed());
    assert_eq!(call(&client, "Echo", "").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(Client::connect(&running.socket).await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn the_last_client_takes_the_connection_and_its_calls_along() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let hung = tokio::spawn(async move { call(&client, "Hang", "").await });
    running.demo.begun.notified().await;
    hung.abort();
    running.demo.dropped.notified().await;
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_under_way() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    let held = tokio::spawn(async move { call(&client, "Held", "").await });
    running.demo.begun.notified().await;
    running.stop.notify_one();
    running.demo.release.notify_one();
    assert_eq!(held.await.unwrap(), Ok(String::new()));
    running.server.await.unwrap();
}

#[tokio::test]
async fn a_strangers_bytes_end_their_connection_and_no_other() {
    let running = serve();
    let client = Client::connect(&running.socket).await.unwrap();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\x01\0\0\0\x01\x09\0x", b"\0\0\0\0\0\0\0\x02"] {
        let mut stranger = UnixStream::connect(&running.socket).await.unwrap();
        stranger.write_all(bytes).await.unwrap();
        stranger.shutdown().await.unwrap();
        assert_eq!(stranger.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
    assert_eq!(running.demo.calls.load(Ordering::SeqCst), 0);
    assert_eq!(call(&client, "Echo", "on").await.unwrap(), "on");
}

#[tokio::test]
async fn odd_streams_are_answered_with_a_reason() {
    let running = serve();
    let mut stranger = UnixStream::connect(&running.socket).await.unwrap();
    // An even stream, a stray answer, an undecodable request, and its number once more.
    let frames: [&[u8]; 4] = [
        b"\0\0\0\0\0\0\0\x02\x01\0",
        b"\0\0\0\0\0\0\0\x03\x02\0",
        b"\0\0\0\x01\0\0\0\x05\x01\0\xff",
        b"\0\0\0\0\0\0\0\x05\x01\0",
    ];
    let mut head = [0; 10];
    for frame in frames {
        stranger.write_all(frame).await.unwrap();
        stranger.read_exact(&mut head).await.unwrap();
        let length = head.first_chunk::<4>().map_or(0, |l| u32::from_be_bytes(*l));
        let mut message = vec![0; length as usize];
        stranger.read_exact(&mut message).await.unwrap();
        let answer: wharf_ttrpc::envelope::Response = prost::Message::decode(message.as_slice()).unwrap();
        assert_eq!(answer.status.unwrap().code, i32::from(Code::InvalidArgument));
    }
    assert_eq!(running.demo.calls.load(Ordering::SeqCst), 0);
}
