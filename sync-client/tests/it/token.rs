//! Where tokens come from, and that nobody sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_client::{Client, Connection, Event, OfflineReason};
use tempfile::TempDir;

use crate::hub::TestHub;
use crate::sync::{PATIENCE, until};

#[test]
fn a_token_is_not_shown() {
    let folder = TempDir::new().unwrap();
    let builder = Client::builder(folder.path()).document("notes").token("secret-token");
    assert!(!format!("{builder:?}").contains("secret-token"));
    let client = builder.open().unwrap();
    assert!(!format!("{client:?}").contains("secret-token"));
}

#[tokio::test]
async fn a_source_is_asked_at_each_connection_and_again_when_its_token_ends() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
    // The second time there is none; from the fourth on, another one.
    let client = builder
        .token_source(move || {
            let count = counter.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                match count {
                    1 | 3 => Ok("one".to_owned()),
                    2 => Err("the server for tokens is down"),
                    _ => Ok(format!("token {count}")),
                }
            }
        })
        .open()
        .unwrap();
    client.sync(PATIENCE).await.unwrap();
    assert_eq!(hub.tokens(), [Some("one".to_owned())]);
    let mut reasons = client.subscribe();
    hub.close(4401, "the token has ended");
    let mut heard = Vec::new();
    while let Some(event) = reasons.next().await {
        let Event::Connection(connection) = event else { continue };
        match connection {
            Connection::Offline(OfflineReason::NoToken(why)) => heard.push(why.to_string()),
            Connection::Offline(_) | Connection::Connecting => {}
            Connection::Online => break,
        }
    }
    let [ended, none, same] = &heard[..] else { panic!("{heard:?}") };
    assert!(ended.contains("4401"), "{ended}");
    assert!(none.contains("the server for tokens is down"), "{none}");
    assert!(same.contains("no other one"), "{same}");
    client.sync(PATIENCE).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    // What the hub refused was not sent again.
    assert_eq!(hub.tokens(), [Some("one".to_owned()), Some("token 4".to_owned())]);
}

#[tokio::test]
async fn a_source_may_block_and_a_panic_of_it_is_no_token() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let asked = AtomicUsize::new(0);
    let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
    let source = move || -> Result<String, std::io::Error> {
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("out of order"),
            _ => Ok("blocking".to_owned()),
        }
    };
    let client = builder.blocking_token_source(source).open().unwrap();
    until(&client, || client.connection().is_online()).await;
    assert_eq!(hub.tokens(), [Some("blocking".to_owned())]);
}

#[tokio::test]
async fn without_a_source_a_token_that_ends_waits_for_the_application() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
    let client = builder.token("once").open().unwrap();
    client.sync(PATIENCE).await.unwrap();
    hub.close(4401, "the token has ended");
    until(&client, || {
        matches!(client.connection(), Connection::Offline(OfflineReason::TurnedAway(_)))
    })
    .await;
}
