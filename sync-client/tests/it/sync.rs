//! The driver against a hub: convergence, receipts, reconnects, refusals, and a hub that lost its data.

use std::path::Path;
use std::time::Duration;

use sync_client::{
    Client, Connection, Error, Field, Item, OfflineReason, OutboxState, Phase, RecordId, SyncError,
    members,
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::hub::TestHub;

/// Far longer than anything here takes: it ends a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) fn open(folder: &Path, hub: &TestHub) -> Client {
    Client::builder(folder).hub(hub.address()).document("notes").open().unwrap()
}

pub(crate) fn list(client: &Client) -> Vec<Item> {
    client.document("notes").unwrap().collection("notes").list().unwrap()
}

fn title(text: &str) -> [(&'static str, Field); 1] {
    [("title", text.into())]
}

/// Waits until something is so, asking after each event.
pub(crate) async fn until(client: &Client, mut is_so: impl FnMut() -> bool) {
    let mut events = client.subscribe();
    let wait = async {
        while !is_so() {
            events.next().await.expect("the client is open");
        }
    };
    timeout(PATIENCE, wait).await.expect("it becomes so in time");
}

#[tokio::test]
async fn two_clients_converge_and_a_choice_clears_a_conflict_for_both() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [a, b] = [0, 1].map(|at: usize| open(folders[at].path(), &hub));
    let [notes_a, notes_b] =
        [&a, &b].map(|client| client.document("notes").unwrap().collection("notes"));
    let fields = [("title", "first".into()), ("tags", members(["x"]))];
    let (id, written) = notes_a.insert(fields).unwrap();
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    until(&b, || notes_b.get(&id).unwrap().is_some()).await;
    assert_eq!(list(&a), list(&b));

    for client in [&a, &b] {
        client.set_offline(true);
        until(client, || {
            matches!(client.connection(), Connection::Offline(OfflineReason::SwitchedOff))
        })
        .await;
    }
    let _ = notes_a.update(&id, title("from a")).unwrap();
    let _ = notes_b.update(&id, title("from b")).unwrap();
    let _ = notes_b.update(&id, [("tags", members(["x", "y"]))]).unwrap();
    for client in [&a, &b] {
        client.set_offline(false);
    }
    for (client, notes) in [(&a, &notes_a), (&b, &notes_b)] {
        until(client, || {
            notes.conflicts().unwrap().first().is_some_and(|clash| clash.versions.len() == 2)
        })
        .await;
        client.sync(PATIENCE).await.unwrap();
    }
    assert_eq!(list(&a), list(&b));
    assert_eq!(list(&a)[0].members("tags").count(), 2);

    let author = b.document("notes").unwrap().status().replica;
    notes_a.keep(&id, author).unwrap().hub().await.unwrap();
    for (client, notes) in [(&a, &notes_a), (&b, &notes_b)] {
        until(client, || notes.conflicts().unwrap().is_empty()).await;
        assert_eq!(notes.get(&id).unwrap().unwrap().text("title"), Some("from b"));
        let log = client.document("notes").unwrap().conflict_log().unwrap();
        assert_eq!(log.len(), 1);
        assert!(!log[0].is_open);
    }
}

#[tokio::test]
async fn the_outbox_empties_and_receipts_come_only_on_the_acknowledgement() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    let document = client.document("notes").unwrap();
    hub.hold();
    let (_, written) = document.collection("notes").insert(title("held")).unwrap();
    timeout(PATIENCE, hub.until_stored("notes", written.dot())).await.unwrap();
    // The hub has it and has not said so.
    assert!(!written.is_on_hub());
    assert!(written.is_on_disk(), "what was sent is on disk");
    assert_eq!(document.status().pending, 1);
    assert_eq!(document.outbox().unwrap()[0].state, OutboxState::Frozen);
    assert!(matches!(written.wait_hub(Duration::from_millis(1)), Err(Error::TimedOut)));
    let error = client.sync(Duration::from_millis(1)).await.unwrap_err();
    let SyncError::TimedOut { missing } = error else { panic!("{error}") };
    assert_eq!(missing[0].pending, 1);
    hub.release();
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    assert!(document.outbox().unwrap().is_empty());
    assert!(written.is_on_hub());
    client.wait_sync(PATIENCE).unwrap();
}

#[tokio::test]
async fn a_cut_connection_comes_back_by_itself_and_what_was_written_meanwhile_arrives() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    for round in 0..3 {
        hub.hold();
        let (_, written) = notes.insert(title("cut")).unwrap();
        timeout(PATIENCE, hub.until_stored("notes", written.dot())).await.unwrap();
        // The acknowledgement is lost with the connection.
        hub.cut();
        hub.release();
        timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
        assert_eq!(hub.accepted(), round + 2);
    }
    assert_eq!(client.outbox().unwrap(), []);
}

#[tokio::test]
async fn a_final_close_code_stops_the_attempts_until_told() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    hub.close(4403, "not for you");
    let is_turned_away = |connection: &Connection| {
        matches!(connection, Connection::Offline(OfflineReason::TurnedAway(_)))
    };
    until(&client, || is_turned_away(&client.connection())).await;
    let document = client.document("notes").unwrap();
    let Connection::Offline(reason) = document.status().connection else { panic!() };
    assert!(reason.to_string().contains("4403: not for you"), "{reason}");
    let (_, written) = document.collection("notes").insert(title("local")).unwrap();
    written.disk().await.unwrap();
    assert!(matches!(client.sync(PATIENCE).await, Err(SyncError::Offline(_))));
    assert_eq!(hub.accepted(), 1);
    client.reconnect();
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    assert_eq!(hub.accepted(), 2);
}

#[tokio::test]
async fn a_client_that_starts_offline_stays_so_until_it_is_switched_on() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let builder = Client::builder(folder.path()).hub(hub.address()).document("notes");
    let client = builder.offline(true).open().unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    let (_, written) = notes.insert(title("local")).unwrap();
    written.disk().await.unwrap();
    let is_switched_off =
        matches!(client.sync(PATIENCE).await, Err(SyncError::Offline(OfflineReason::SwitchedOff)));
    assert!(is_switched_off);
    assert_eq!(hub.accepted(), 0);
    client.set_offline(false);
    timeout(PATIENCE, written.hub()).await.unwrap().unwrap();
    client.set_offline(true);
    until(&client, || {
        matches!(client.connection(), Connection::Offline(OfflineReason::SwitchedOff))
    })
    .await;
    let (_, written) = notes.insert(title("isolated")).unwrap();
    written.disk().await.unwrap();
    assert!(!hub.has("notes", written.dot()));
    assert_eq!(hub.accepted(), 1);
}

#[tokio::test]
async fn other_close_codes_lead_to_another_attempt() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    for code in [1001, 1011, 1012, 4408, 4429] {
        client.sync(PATIENCE).await.unwrap();
        let before = hub.accepted();
        hub.close(code, "later");
        until(&client, || hub.accepted() > before && client.connection().is_online()).await;
    }
}

#[tokio::test]
async fn a_hub_that_lost_everything_is_filled_again() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let a = open(folders[0].path(), &hub);
    let notes = a.document("notes").unwrap().collection("notes");
    let mut ids: Vec<RecordId> = Vec::new();
    for at in 0..20 {
        ids.push(notes.insert(title(&at.to_string())).unwrap().0);
    }
    let removed = ids.swap_remove(3);
    let removal = notes.remove(&removed).unwrap();
    a.sync(PATIENCE).await.unwrap();
    hub.lose_everything();
    timeout(PATIENCE, hub.until_stored("notes", removal.dot())).await.unwrap();
    let b = open(folders[1].path(), &hub);
    until(&b, || list(&b).len() == ids.len()).await;
    b.sync(PATIENCE).await.unwrap();
    assert_eq!(list(&a), list(&b));
    assert!(list(&b).iter().all(|note| note.id != removed));
}

#[tokio::test]
async fn what_the_hub_refuses_is_kept_and_said() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    client.sync(PATIENCE).await.unwrap();
    hub.refuse("too many notes");
    let (id, written) =
        client.document("notes").unwrap().collection("notes").insert(title("refused")).unwrap();
    let error = timeout(PATIENCE, written.hub()).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Parked { reason } if reason == "too many notes"), "{error}");
    assert!(matches!(client.sync(PATIENCE).await, Err(SyncError::Parked { .. })));
    client.shutdown().unwrap();
    drop((written, client));
    let client = Client::open(folder.path(), "notes").unwrap();
    let document = client.document("notes").unwrap();
    assert_eq!((document.status().pending, document.status().parked), (0, 1));
    assert!(document.collection("notes").get(&id).unwrap().is_some());
}

#[tokio::test]
async fn presence_is_shown_to_others_and_ends_with_the_client() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [a, b] = [0, 1].map(|at: usize| open(folders[at].path(), &hub));
    a.document("notes").unwrap().show("Ada", vec![7]).unwrap();
    let others = b.document("notes").unwrap();
    until(&b, || others.peers().values().any(|peer| peer.name == "Ada")).await;
    let replica = a.document("notes").unwrap().status().replica;
    assert_eq!(others.peers()[&replica].state.as_slice(), [7]);
    a.shutdown().unwrap();
    until(&b, || others.peers().is_empty()).await;
}

#[tokio::test]
async fn a_hub_that_is_not_there_or_is_none_is_said_and_does_not_hinder() {
    // Bound and never answered, and something that speaks HTTP only.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let portal = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let portal_at = portal.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        loop {
            let (mut stream, _) = portal.accept().await.unwrap();
            stream.readable().await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
            stream.write_all(answer).await.unwrap();
        }
    });
    let folder = TempDir::new().unwrap();
    let silent_at = format!("ws://{}", silent.local_addr().unwrap());
    let builder = Client::builder(folder.path()).document("notes");
    let client = builder.clone().hub(silent_at).open().unwrap();
    let notes = client.document("notes").unwrap().collection("notes");
    notes.insert(title("offline")).unwrap().1.wait_disk().unwrap();
    assert_eq!(client.document("notes").unwrap().status().phase, Phase::Closed);
    assert!(matches!(client.connection(), Connection::Connecting));
    client.shutdown().unwrap();
    drop((client, notes));
    let client = builder.hub(format!("http://{portal_at}")).open().unwrap();
    until(&client, || matches!(client.connection(), Connection::Offline(_))).await;
    let connection = client.wait_connection(PATIENCE, |connection| {
        matches!(connection, Connection::Offline(OfflineReason::Lost(_)))
    });
    let Connection::Offline(reason) = connection else { panic!() };
    assert!(reason.to_string().contains("no hub (HTTP status 200)"), "{reason}");
}

#[test]
fn who_waits_for_the_line_may_use_the_client() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    let found = client.wait_connection(PATIENCE, |seen| {
        seen.is_online() && client.document("notes").unwrap().outbox().unwrap().is_empty()
    });
    assert!(found.is_online());
    let found = client.wait_connection(Duration::ZERO, |seen| !seen.is_online());
    assert!(found.is_online(), "the time is over");
}

#[test]
fn everything_works_without_an_async_runtime() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let client = open(folder.path(), &hub);
    let mut events = client.subscribe();
    let notes = client.document("notes").unwrap().collection("notes");
    let (_, written) = notes.insert(title("blocking")).unwrap();
    written.wait_disk().unwrap();
    written.wait_hub(PATIENCE).unwrap();
    client.wait_sync(PATIENCE).unwrap();
    futures::executor::block_on(client.sync(PATIENCE)).unwrap();
    client.shutdown().unwrap();
    let mut count = 0;
    while events.wait_next().is_some() {
        count += 1;
    }
    assert!(count > 0);
    assert!(matches!(notes.insert(title("late")), Err(Error::Closed)));
}

/// The first bytes to a hub behind TLS are a TLS handshake (RFC 8446, 5.1).
#[cfg(feature = "tls")]
#[tokio::test]
async fn a_secure_address_is_met_with_tls() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let folder = TempDir::new().unwrap();
    let client = Client::builder(folder.path()).hub(address).document("notes").open().unwrap();
    let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut first = [0; 2];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [22, 3]);
    client.shutdown().unwrap();
}
