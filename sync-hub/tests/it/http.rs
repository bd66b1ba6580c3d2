//! Plain HTTP on the same port.

use std::fs;
use std::net::SocketAddr;

use sync_hub::{HEADER_BYTES_MAX, Options};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Client, TestHub, insert, replica, soon};

/// Asks for a path and gives the whole answer, headers in lower case.
pub(crate) async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: hub\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{}\r\n\r\n{body}", head.to_lowercase())
}

#[tokio::test]
async fn health_says_how_far_the_hub_is() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut client = Client::open(hub.address, "d", replica(1)).await;
    client.store(1, insert(replica(1), 1, b"x")).await;
    let answer = get(hub.address, "/health", "").await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let expected =
        serde_json::json!({ "status": "ok", "version": version, "seq": 1, "connections": 1 });
    assert_eq!(body, expected);
    hub.stop().await;
}

#[tokio::test]
async fn static_files_come_with_their_headers_and_nothing_from_outside() {
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("page");
    fs::create_dir_all(page.join("assets")).unwrap();
    fs::write(page.join("index.html"), "<p>the app").unwrap();
    fs::write(page.join("assets/app-1a2b.js"), "run()").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    let options = Options::new(folder.path().join("data")).with_static_dir(&page);
    let hub = TestHub::start_with(options).await;
    for path in ["/", "/?doc=notes", "/index.html"] {
        let answer = get(hub.address, path, "").await;
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        assert!(answer.ends_with("<p>the app"), "{answer}");
        assert!(answer.contains("cache-control: no-cache\r\n"), "{answer}");
        assert!(answer.contains("x-content-type-options: nosniff\r\n"), "{answer}");
        assert!(answer.contains("'self' 'wasm-unsafe-eval'"), "{answer}");
        assert!(answer.contains("content-type: text/html"), "{answer}");
    }
    let script = get(hub.address, "/assets/app-1a2b.js", "").await;
    assert!(script.ends_with("run()") && script.contains("immutable"), "{script}");
    for path in ["/missing", "/assets/missing.js", "/../secret", "/%2e%2e/secret"] {
        let answer = get(hub.address, path, "").await;
        assert!(answer.starts_with("http/1.1 4"), "{answer}");
        assert!(!answer.contains("secret") && !answer.contains("immutable"), "{answer}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn sync_without_an_upgrade_says_what_it_wants() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    for headers in ["", "Upgrade: websocket\r\nConnection: upgrade\r\n"] {
        let answer = get(hub.address, "/sync", headers).await;
        assert!(answer.starts_with("http/1.1 426"), "{answer}");
        assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_headers_of_a_request_are_limited() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let (start, end) =
        ("GET /health HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nX: ", "\r\n\r\n");
    let of_bytes = |bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
    for (request, status) in [
        (of_bytes(HEADER_BYTES_MAX - 1 - end.len()) + end, "200"),
        (of_bytes(HEADER_BYTES_MAX - end.len()) + end, "200"),
        // It does not end within the limit.
        (of_bytes(HEADER_BYTES_MAX), "431"),
    ] {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    hub.stop().await;
}
