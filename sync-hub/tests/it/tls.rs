//! A hub with a certificate.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sync_core::wire::{HubMessage, VERSION, decode_hub};
use sync_hub::{Options, Tls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{TestHub, hello, soon};

struct Certificate {
    of: CertificateDer<'static>,
    file: PathBuf,
    key: PathBuf,
}

fn certificate(folder: &TempDir, name: &str) -> Certificate {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [file, key] = ["crt", "key"].map(|end| folder.path().join(format!("{name}.{end}")));
    fs::write(&file, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    Certificate { of: cert.der().clone(), file, key }
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let certificate = certificate(&folder, "hub");
    let tls = Tls::read(&certificate.file, &certificate.key).unwrap();
    let hub = TestHub::start_with(Options::new(folder.path().join("data")).with_tls(tls)).await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.of).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(hub.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = soon(connector.connect(name, stream)).await.unwrap();
    let (mut socket, _) = soon(client_async("wss://localhost/sync", stream)).await.unwrap();
    socket.send(Message::Binary(hello(VERSION).encode().into())).await.unwrap();
    let Some(Ok(Message::Binary(frame))) = soon(socket.next()).await else { panic!("no answer") };
    assert!(matches!(decode_hub(&frame), Ok(HubMessage::Welcome(_))));
    let mut plain = TcpStream::connect(hub.address).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // It may be told so, or cut off.
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    drop(socket);
    hub.stop().await;
}

#[test]
fn a_certificate_that_is_of_no_use_is_refused() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (certificate(&folder, "one"), certificate(&folder, "other"));
    let missing = folder.path().join("missing");
    for (file, key, what) in [
        (&one.key, &one.key, "one.key is no certificate"),
        (&one.file, &one.file, "one.crt is no private key"),
        (&missing, &one.key, "missing is no certificate"),
        (&one.file, &other.key, "cannot be used"),
    ] {
        let error = Tls::read(file, key).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
