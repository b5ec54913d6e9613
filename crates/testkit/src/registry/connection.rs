//! One connection: HTTP/1.1 by hand (RFC 9112), as far as clients of registries need it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::answer::{self, Answer, Sending};
use super::{Request, Shared, Throttle, lock};

/// The most bytes that a request's head or a form may have.
const MAX_REQUEST: usize = 64 * 1024;

/// The most bytes of a blob that one request may bring.
const MAX_PAYLOAD: usize = 256 * 1024 * 1024;

/// How much of a body is sent at once, so that what was sent can be counted.
const CHUNK: usize = 64 * 1024;

/// Answers requests until the client leaves or an answer ends the connection.
pub(super) async fn serve(mut stream: TcpStream, addr: SocketAddr, state: Shared) {
    let origin = format!("http://{addr}");
    let mut buffer = BytesMut::new();
    while let Ok(Some((request, payload))) = read_request(&mut stream, &mut buffer).await {
        let (answer, throttle, number) = {
            let mut state = lock(&state);
            let answer = answer::to(&mut state, &origin, &request, &payload);
            state.requests.push(Request { status: answer.status, ..request.clone() });
            (answer, state.throttle, state.requests.len() - 1)
        };
        sleep(throttle.latency).await;
        let count = |bytes: usize| {
            if let Some(request) = lock(&state).requests.get_mut(number) {
                request.sent += bytes as u64;
            }
        };
        match send(&mut stream, &answer, request.method == "HEAD", throttle, &count).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return,
        }
    }
}

/// A request, and what it brings if that is no form.
async fn read_request(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<(Request, Bytes)>> {
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if buffer.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
            // A greeting in TLS: answered as registries without TLS do.
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
            return Ok(None);
        }
        if buffer.len() > MAX_REQUEST || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer.split_to(head_end)).into_owned();
    buffer.advance(4);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut request = Request { method: words.next().unwrap_or_default().to_owned(), ..Request::default() };
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (request.path, request.query) = (path.to_owned(), query.to_owned());
    let headers = lines.filter_map(|line| line.split_once(':'));
    request.headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let pushes = matches!(request.method.as_str(), "PUT" | "PATCH");
    let most = if pushes { MAX_PAYLOAD } else { MAX_REQUEST };
    while buffer.len() < length {
        if length > most || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let payload = buffer.split_to(length).freeze();
    request.received = length as u64;
    if !pushes {
        request.body = String::from_utf8_lossy(&payload).into_owned();
    }
    Ok(Some((request, payload)))
}

/// Sends an answer; false when the connection is to end with it.
async fn send(
    stream: &mut TcpStream,
    answer: &Answer,
    head_only: bool,
    throttle: Throttle,
    count: &(dyn Fn(usize) + Sync),
) -> io::Result<bool> {
    match answer.sending {
        Sending::Never => return std::future::pending().await,
        Sending::Nothing => return Ok(false),
        Sending::Garbage => {
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await?;
            return Ok(false);
        }
        _ => {}
    }
    let head = head(answer);
    match answer.sending {
        Sending::TrickleHeaders(pause) => trickle(stream, head.as_bytes(), pause, &|_| {}).await?,
        _ => stream.write_all(head.as_bytes()).await?,
    }
    if head_only {
        return Ok(answer.length.is_none());
    }
    let limit = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(answer.body.len());
    match answer.sending {
        Sending::CutAfter(bytes) => {
            write_body(stream, answer.body.get(..limit(bytes)).unwrap_or_default(), throttle, count).await?;
            stream.shutdown().await.map(|()| false)
        }
        Sending::ResetAfter(bytes) => {
            write_body(stream, answer.body.get(..limit(bytes)).unwrap_or_default(), throttle, count).await?;
            // Not lingering makes the kernel send a reset when the socket is closed.
            stream.set_zero_linger().map(|()| false)
        }
        Sending::StallAfter(bytes) => {
            write_body(stream, answer.body.get(..limit(bytes)).unwrap_or_default(), throttle, count).await?;
            std::future::pending().await
        }
        Sending::Trickle(pause) => trickle(stream, &answer.body, pause, count).await.map(|()| true),
        Sending::Chunked => {
            for chunk in answer.body.chunks(CHUNK) {
                stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                write_body(stream, chunk, throttle, count).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await.map(|()| true)
        }
        _ => {
            write_body(stream, &answer.body, throttle, count).await?;
            Ok(answer.length.is_none())
        }
    }
}

fn head(answer: &Answer) -> String {
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match answer.sending {
        Sending::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        _ => head.push_str(&format!("content-length: {}\r\n", answer.length.unwrap_or(answer.body.len() as u64))),
    }
    head.push_str("\r\n");
    head
}

async fn write_body(
    stream: &mut TcpStream,
    body: &[u8],
    throttle: Throttle,
    count: &(dyn Fn(usize) + Sync),
) -> io::Result<()> {
    for chunk in body.chunks(CHUNK) {
        stream.write_all(chunk).await?;
        count(chunk.len());
        if let Some(rate) = throttle.bytes_per_second {
            sleep(Duration::from_secs_f64(chunk.len() as f64 / rate.max(1) as f64)).await;
        }
    }
    Ok(())
}

async fn trickle(
    stream: &mut TcpStream,
    bytes: &[u8],
    pause: Duration,
    count: &(dyn Fn(usize) + Sync),
) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        count(1);
        sleep(pause).await;
    }
    Ok(())
}
