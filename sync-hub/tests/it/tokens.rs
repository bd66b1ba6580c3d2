//! Who is let in with which token, and what of.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sync_client::{Connection, ItemState, SyncError};
use sync_core::causal::CausalContext;
use sync_core::wire::{Claim, ClientMessage, HubMessage, Push, Token, VERSION, encode_delta};
use sync_hub::{Claims, HELLO_BYTES_MAX, Options, TokenKeys, new_secret, sign_token};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, TestHub, insert, replica};

const PATIENCE: Duration = Duration::from_secs(240);

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "tokens end by the calendar")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key, and a hub that wants tokens of it.
struct Guarded {
    folder: TempDir,
    key: PathBuf,
    hub: TestHub,
}

impl Guarded {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("hub.key");
        std::fs::write(&key, new_secret().unwrap()).unwrap();
        let keys = TokenKeys::read([&key]).unwrap();
        let options = Options::new(folder.path().join("data")).with_keys(keys);
        let hub = TestHub::start_with(options).await;
        Self { folder, key, hub }
    }

    fn token(&self, read: &[&str], write: &[&str], ends: u64) -> String {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (subject, starts) = ("anna".to_owned(), None);
        let claims = Claims { subject, read: names(read), write: names(write), ends, starts };
        sign_token(&claims, &self.key).unwrap()
    }

    async fn connect(&self, token: Option<String>) -> Client {
        let mut client = Client::connect(self.hub.address).await;
        client.say(&hello(token)).await;
        client
    }

    async fn let_in(&self, token: String) -> Client {
        let mut client = self.connect(Some(token)).await;
        assert!(matches!(client.hear().await, HubMessage::Welcome(_)));
        client
    }
}

fn hello(token: Option<String>) -> ClientMessage {
    let (version, agent) = (VERSION, "a".to_owned());
    ClientMessage::Hello { version, token: token.map(Token), agent, packs: false }
}

fn open(document: &str) -> ClientMessage {
    ClientMessage::Open {
        channel: 1,
        document: document.into(),
        cursor: None,
        context: CausalContext::default(),
        claims: vec![Claim { replica: replica(9), opening: 1 }],
        compares: false,
        unsent: Vec::new(),
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_of_the_hub_and_hears_why() {
    let guarded = Guarded::start().await;
    let elsewhere = guarded.folder.path().join("elsewhere.key");
    std::fs::write(&elsewhere, new_secret().unwrap()).unwrap();
    let forged = Claims {
        subject: "anna".into(),
        read: Vec::new(),
        write: vec!["*".into()],
        ends: now() + 60,
        starts: None,
    };
    for (token, why) in [
        (None, "there is none"),
        (Some("token".to_owned()), "it is no JWT"),
        (Some(guarded.token(&[], &["*"], now() - 1)), "it has ended"),
        (Some(sign_token(&forged, &elsewhere).unwrap()), "signature"),
    ] {
        let mut client = guarded.connect(token).await;
        // The first that is heard: nothing of the hub was said before.
        let (code, reason) = client.closed_at_once().await;
        assert_eq!(code, 4401, "{reason}");
        assert!(reason.contains(why), "{reason}");
    }
    let mut early = Client::connect(guarded.hub.address).await;
    early.say(&open("notes")).await;
    assert_eq!(early.closed_at_once().await.0, 4409);
    let mut text = Client::connect(guarded.hub.address).await;
    text.send(Message::Text("hello".into())).await;
    assert_eq!(text.closed_at_once().await.0, 4400);
    let mut newer = Client::connect(guarded.hub.address).await;
    newer.say(&crate::client::hello(VERSION + 1)).await;
    assert_eq!(newer.closed_at_once().await.0, 4406);
    guarded.hub.stop().await;
}

#[tokio::test]
async fn a_token_is_good_for_what_it_names_and_nothing_else() {
    let guarded = Guarded::start().await;
    let ends = now() + 600;
    let mut writer = guarded.let_in(guarded.token(&[], &["notes"], ends)).await;
    writer.catch_up("notes", None, CausalContext::default(), &[replica(1)]).await;
    writer.store(1, insert(replica(1), 1, b"x")).await;
    let mut reader = guarded.let_in(guarded.token(&["no*"], &[], ends)).await;
    let caught = reader.catch_up("notes", None, CausalContext::default(), &[replica(2)]).await;
    assert_eq!(caught.delta, insert(replica(1), 1, b"x"));
    let delta = encode_delta(&insert(replica(2), 1, b"y"));
    reader.say(&ClientMessage::Push(Push { channel: 1, id: 1, delta, skips: false })).await;
    let heard = reader.hear().await;
    assert!(matches!(heard, HubMessage::Refused { id: 1, goes_on: true, .. }), "{heard:?}");
    for token in [guarded.token(&["note"], &["other*"], ends), guarded.token(&[], &[], ends)] {
        let mut stranger = guarded.let_in(token).await;
        stranger.say(&open("notes")).await;
        assert_eq!(stranger.closed_at_once().await.0, 4403);
    }
    writer.say(&ClientMessage::Ping).await;
    assert_eq!(writer.hear().await, HubMessage::Pong, "and nothing of the others");
    guarded.hub.stop().await;
}

#[tokio::test]
async fn a_hello_is_limited_before_anybody_is_let_in() {
    let guarded = Guarded::start().await;
    // In the frame are a head of 8 bytes (RFC 6455, section 5.2), the message, and nothing else.
    let bytes = |token: usize| hello(Some("x".repeat(token))).encode().len() + 8;
    let room = HELLO_BYTES_MAX - bytes(1_000) + 1_000;
    assert_eq!(bytes(room), HELLO_BYTES_MAX);
    for (length, code) in [(room - 1, 4401), (room, 4401), (room + 1, 4413)] {
        let mut client = guarded.connect(Some("x".repeat(length))).await;
        assert_eq!(client.closed_at_once().await.0, code, "{length}");
    }
    // Who was let in may say more.
    let mut client = guarded.let_in(guarded.token(&[], &["*"], now() + 600)).await;
    client.catch_up("notes", None, CausalContext::default(), &[replica(1)]).await;
    for counter in 1..=4 {
        client.store(counter, insert(replica(1), counter, &[0; 8_000])).await;
    }
    guarded.hub.stop().await;
}

#[tokio::test]
async fn a_token_that_ends_closes_the_connection_and_another_one_lets_in_again() {
    let guarded = Guarded::start().await;
    let mut client = guarded.let_in(guarded.token(&[], &["notes"], now() + 2)).await;
    client.catch_up("notes", None, CausalContext::default(), &[replica(1)]).await;
    let (code, reason) = client.closed().await;
    assert_eq!(code, 4401);
    assert!(reason.contains("it has ended"), "{reason}");
    let mut again = guarded.let_in(guarded.token(&[], &["notes"], now() + 600)).await;
    again.catch_up("notes", None, CausalContext::default(), &[replica(1)]).await;
    guarded.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_may_only_read_keeps_what_it_wrote_and_is_told() {
    let guarded = Guarded::start().await;
    let token = guarded.token(&["notes"], &["own"], now() + 600);
    let (folder, address) = (TempDir::new().unwrap(), format!("http://{}", guarded.hub.address));
    tokio::task::spawn_blocking(move || {
        let builder = sync_client::Client::builder(folder.path()).hub(address).token(token);
        let client = builder.document("notes").document("own").open().unwrap();
        let title = |document: &str| {
            let notes = client.document(document).unwrap().collection("notes");
            notes.insert([("title", "mine".into())]).unwrap()
        };
        let (id, _) = title("notes");
        let (_, own) = title("own");
        assert!(client.wait_connection(PATIENCE, Connection::is_online).is_online());
        own.wait_hub(PATIENCE).unwrap();
        let lacking = client.wait_sync(PATIENCE);
        assert!(matches!(lacking, Err(SyncError::Parked { .. })), "{lacking:?}");
        let page = client.outbox_page(None, 100).unwrap();
        let [waiting] = &page.items[..] else { panic!("{page:?}") };
        let ItemState::Parked { reason } = &waiting.state else { panic!("{waiting:?}") };
        assert!(reason.contains("read, not written"), "{reason}");
        let notes = client.document("notes").unwrap().collection("notes");
        assert!(notes.get(&id).unwrap().is_some(), "it is still here");
        client.shutdown().unwrap();
    })
    .await
    .unwrap();
    guarded.hub.stop().await;
}
