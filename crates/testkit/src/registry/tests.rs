use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Sends one request and returns all that comes until the registry is silent or gone.
async fn ask(registry: &Registry, head: &str) -> String {
    let mut stream = TcpStream::connect(registry.addr()).await.unwrap();
    stream.write_all(format!("{head}\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset ends the answer too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn with_image() -> (Registry, Image) {
    let registry = Registry::start().await.unwrap();
    let image = Image::of_binary("\x7fELF", "/hello");
    registry.put_image("demo", "latest", &image);
    (registry, image)
}

#[tokio::test]
async fn manifests_come_by_tag_and_by_digest_and_blobs_in_parts() {
    let (registry, image) = with_image().await;
    let by_tag = ask(&registry, "GET /v2/demo/manifests/latest HTTP/1.1").await;
    assert!(by_tag.starts_with("HTTP/1.1 200"), "{by_tag}");
    assert!(by_tag.contains(&format!("docker-content-digest: {}", image.manifest.digest)), "{by_tag}");
    let head = ask(&registry, &format!("HEAD /v2/demo/manifests/{} HTTP/1.1", image.manifest.digest)).await;
    assert!(head.contains(&format!("content-length: {}", image.manifest.bytes.len())) && head.ends_with("\r\n\r\n"));
    let part =
        ask(&registry, &format!("GET /v2/demo/blobs/{} HTTP/1.1\r\nrange: bytes=2-4", image.config.digest)).await;
    assert!(part.starts_with("HTTP/1.1 206") && part.contains(&format!("bytes 2-4/{}", image.config.bytes.len())));
    assert_eq!(registry.served(&image.config.digest), 3);
    assert!(ask(&registry, "GET /v2/demo/manifests/other HTTP/1.1").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_fault_happens_as_often_as_was_said() {
    let (registry, image) = with_image().await;
    registry.set_fault(&image.config.digest, Fault::Status(500)).times(1);
    registry.set_fault(&image.config.digest, Fault::CutAfter(5)).times(1);
    let get = format!("GET /v2/demo/blobs/{} HTTP/1.1", image.config.digest);
    assert!(ask(&registry, &get).await.starts_with("HTTP/1.1 500"));
    let cut = ask(&registry, &get).await;
    assert_eq!(cut.split_once("\r\n\r\n").unwrap().1.len(), 5);
    let whole = ask(&registry, &get).await;
    assert_eq!(whole.split_once("\r\n\r\n").unwrap().1.as_bytes(), &image.config.bytes);
}

#[tokio::test]
async fn tokens_are_asked_for_given_out_and_expire() {
    let (registry, _) = with_image().await;
    registry.set_auth(Auth::bearer("ann", "secret"));
    let refused = ask(&registry, "GET /v2/demo/manifests/latest HTTP/1.1").await;
    assert!(refused.contains("scope=\"repository:demo:pull\""), "{refused}");
    assert!(ask(&registry, "GET /token HTTP/1.1").await.starts_with("HTTP/1.1 401"));
    let token = ask(&registry, "GET /token HTTP/1.1\r\nauthorization: Basic YW5uOnNlY3JldA==").await;
    assert!(token.contains("\"token\":\"token-1\""), "{token}");
    let get = "GET /v2/demo/manifests/latest HTTP/1.1\r\nauthorization: Bearer token-1";
    assert!(ask(&registry, get).await.starts_with("HTTP/1.1 200"));
    registry.expire_tokens();
    assert!(ask(&registry, get).await.starts_with("HTTP/1.1 401"));
}
