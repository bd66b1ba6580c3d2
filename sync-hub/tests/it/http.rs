//! Plain HTTP on the same port.

use std::fs;
use std::net::SocketAddr;

use sync_core::wire::{ClientMessage, HubMessage, Push, encode_delta};
use sync_hub::{HEADER_BYTES_MAX, Limits, Options};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

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

/// What a counter or gauge stands at.
async fn metric(hub: &TestHub, name: &str) -> Option<f64> {
    let answer = get(hub.address, "/metrics", "").await;
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn what_the_hub_does_is_counted() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { stamp_ahead_ms_max: 1_000, ..Limits::default() };
    let hub = TestHub::start_with(Options::new(folder.path()).with_limits(limits)).await;
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    let mut b = Client::open(hub.address, "d", replica(2)).await;
    a.store(1, insert(replica(1), 1, b"x")).await;
    assert!(matches!(b.hear().await, HubMessage::Delta { .. }));
    let delta = encode_delta(&insert(replica(9), 1, b"y"));
    b.say(&ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false })).await;
    assert!(matches!(b.hear().await, HubMessage::Refused { .. }));
    b.say(&ClientMessage::Ping).await;
    assert_eq!(b.hear().await, HubMessage::Pong);
    let answer = get(hub.address, "/ready", "").await;
    assert!(answer.starts_with("http/1.1 200") && answer.ends_with("ready\n"), "{answer}");
    for (name, expected) in [
        ("sync_hub_connections", 2),
        ("sync_hub_documents_open", 1),
        ("sync_hub_sequence", 1),
        ("sync_hub_deltas_total{direction=\"in\"}", 1),
        ("sync_hub_deltas_total{direction=\"out\"}", 1),
        ("sync_hub_refusals_total{reason=\"unclaimed\"}", 1),
        ("sync_hub_refusals_total{reason=\"clock\"}", 0),
        ("sync_hub_catch_ups_total{kind=\"whole\"}", 2),
        ("sync_hub_catch_up_chunks_total", 2),
        // Hello, Open, ChunkStored of each; two pushes and a ping.
        ("sync_hub_messages_total{direction=\"in\"}", 9),
        // Welcome, Opened, Chunk of each; Stored, Delta, Refused, Pong.
        ("sync_hub_messages_total{direction=\"out\"}", 10),
        ("sync_hub_storage_failures_total", 0),
    ] {
        assert_eq!(metric(&hub, name).await, Some(f64::from(expected)), "{name}");
    }
    let inputs = metric(&hub, "sync_hub_commit_inputs_sum").await;
    assert!(inputs >= Some(9.0), "{inputs:?}");
    b.send(Message::Text("no".into())).await;
    assert_eq!(b.closed().await.0, 4400);
    assert_eq!(metric(&hub, "sync_hub_closes_total{code=\"4400\"}").await, Some(1.0));
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
async fn a_page_of_another_origin_is_turned_away_before_it_is_a_websocket() {
    let folder = TempDir::new().unwrap();
    let options = Options::new(folder.path()).with_origin("https://app.example");
    let hub = TestHub::start_with(options).await;
    let upgrade = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (origin, status) in [
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: https://app.example\r\n", "101"),
        ("Origin: http://localhost:5173\r\n", "101"),
        ("Origin: http://hub\r\n", "101"),
        ("", "101"),
    ] {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        let request = format!("GET /sync HTTP/1.1\r\nHost: hub\r\n{upgrade}{origin}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut status_line = [0; 12];
        soon(stream.read_exact(&mut status_line)).await.unwrap();
        assert_eq!(status_line, format!("HTTP/1.1 {status}").as_bytes(), "{origin}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_turned_away_until_one_ends() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let hub = TestHub::start_with(Options::new(folder.path()).with_limits(limits)).await;
    let first = Client::hello(hub.address).await;
    let mut second = Client::hello(hub.address).await;
    let mut third = TcpStream::connect(hub.address).await.unwrap();
    // It ends, without an answer.
    let _ = third.write_all(b"GET /health HTTP/1.1\r\nHost: hub\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = soon(third.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    second.say(&ClientMessage::Ping).await;
    assert_eq!(second.hear().await, HubMessage::Pong, "the others go on");
    drop(first);
    let come = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(hub.address).await {
                let _ = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await;
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                if answer.starts_with(b"HTTP/1.") {
                    break;
                }
            }
        }
    };
    soon(come).await;
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
