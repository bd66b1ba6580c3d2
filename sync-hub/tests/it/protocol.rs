//! Conversations over real sockets.

use sync_core::causal::{CausalContext, Dot};
use sync_core::error::Malformed;
use sync_core::wire::{
    ClientMessage, Cursor, Fault, HubMessage, MESSAGE_BYTES_MAX, Push, VERSION, encode_delta,
};
use sync_hub::{Limits, Options};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, TestHub, hello, insert, removal, replica};

#[tokio::test]
async fn a_push_is_stored_and_relayed_and_is_there_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    let mut b = Client::open(hub.address, "d", replica(2)).await;
    let mut elsewhere = Client::open(hub.address, "other", replica(3)).await;
    let delta = insert(replica(1), 1, b"hello");
    let seq = a.store(1, delta.clone()).await;
    let relayed = HubMessage::Delta { channel: 1, seq, delta: encode_delta(&delta) };
    assert_eq!(b.hear().await, relayed);
    elsewhere.say(&ClientMessage::Ping).await;
    assert_eq!(elsewhere.hear().await, HubMessage::Pong, "and nothing before it");
    hub.stop().await;
    assert_eq!(a.closed().await, (1001, Fault::GoingAway.close_reason()));
    let hub = TestHub::start(folder.path()).await;
    let mut c = Client::hello(hub.address).await;
    let caught = c.catch_up("d", None, CausalContext::default(), &[]).await;
    assert_eq!(caught.delta, delta);
    assert!(!caught.resumed);
    hub.stop().await;
}

#[tokio::test]
async fn a_cursor_brings_the_net_difference() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    a.store(1, insert(replica(1), 1, b"kept")).await;
    a.store(2, insert(replica(1), 2, b"removed later")).await;
    let mut b = Client::hello(hub.address).await;
    let before = b.catch_up("d", None, CausalContext::default(), &[]).await;
    drop(b);
    a.store(3, insert(replica(1), 3, b"written and removed meanwhile")).await;
    a.store(4, insert(replica(1), 4, b"new")).await;
    let dots = [Dot::new(replica(1), 2), Dot::new(replica(1), 3)];
    a.store(5, removal(Dot::new(replica(1), 5), &dots)).await;
    let mut b = Client::hello(hub.address).await;
    let after = b.catch_up("d", Some(before.cursor), before.delta.context(), &[]).await;
    assert!(after.resumed);
    let mut expected = insert(replica(1), 4, b"new");
    expected.join(removal(Dot::new(replica(1), 5), &dots));
    assert_eq!(after.delta, expected);
    // A cursor holds across a restart in order, and one from elsewhere compares everything.
    hub.stop().await;
    let hub = TestHub::start(folder.path()).await;
    let mut b = Client::hello(hub.address).await;
    let again = b.catch_up("d", Some(after.cursor), after.delta.context(), &[]).await;
    assert!(again.resumed && again.delta.is_empty(), "{again:?}");
    for cursor in [Cursor { boot: 7, ..after.cursor }, Cursor { seq: 1_000, ..after.cursor }] {
        let mut c = Client::hello(hub.address).await;
        let all = c.catch_up("d", Some(cursor), CausalContext::default(), &[]).await;
        assert!(!all.resumed);
        let mut expected = insert(replica(1), 1, b"kept");
        expected.join(after.delta.clone());
        assert_eq!(all.delta, expected);
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_lost_its_folder_is_filled_again() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(&folder.path().join("a")).await;
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    let mut all = insert(replica(1), 1, b"one");
    a.store(1, all.clone()).await;
    let two = insert(replica(1), 2, b"two");
    let seq = a.store(2, two.clone()).await;
    let cursor = Cursor { boot: 0, seq };
    all.join(two.clone());
    hub.stop().await;
    let hub = TestHub::start(&folder.path().join("b")).await;
    // Somebody else who has the same fills it in, without a claim.
    let mut b = Client::hello(hub.address).await;
    let caught = b.catch_up("d", Some(cursor), all.context(), &[replica(2)]).await;
    assert!(caught.context.is_empty() && !caught.resumed);
    b.store(1, all.clone()).await;
    let mut c = Client::hello(hub.address).await;
    assert_eq!(c.catch_up("d", None, CausalContext::default(), &[]).await.delta, all);
    hub.stop().await;
}

fn malformed(what: &'static str) -> Fault {
    Fault::Malformed(Malformed::Inconsistent { what })
}

/// What breaks the protocol, after how much of a conversation, and the fault that it is.
fn broken() -> Vec<(&'static str, bool, Message, Fault)> {
    let message = |message: &ClientMessage| Message::Binary(message.encode().into());
    let push = |channel, id, counter| {
        let delta = encode_delta(&insert(replica(9), counter, b"x"));
        message(&ClientMessage::Push(Push { channel, id, delta, skips: false }))
    };
    let mut flipped = ClientMessage::Ping.encode();
    flipped[0] ^= 1;
    let (expected, found) = (
        u32::from_le_bytes(flipped[..4].try_into().unwrap()),
        u32::from_le_bytes(ClientMessage::Ping.encode()[..4].try_into().unwrap()),
    );
    let checksum = Fault::Malformed(Malformed::Checksum { expected, found });
    let (size, limit) = (MESSAGE_BYTES_MAX as u64 + 1, MESSAGE_BYTES_MAX as u64);
    let too_large = Fault::TooLarge { what: "a frame", found: size, limit };
    let out_of_order = |why: &'static str| Fault::OutOfOrder(why.into());
    let version = Fault::Version { offered: 999, spoken: VERSION };
    let stored = ClientMessage::ChunkStored { channel: 1, number: 9 };
    vec![
        ("no hello", false, push(1, 1, 1), out_of_order("the first message is a hello")),
        ("another version", false, message(&hello(999)), version),
        ("a second hello", true, message(&hello(VERSION)), out_of_order("a second hello")),
        ("nothing", true, Message::Binary(vec![].into()), malformed("a frame has a checksum")),
        ("a flipped bit", true, Message::Binary(flipped.into()), checksum),
        ("text", true, Message::Text("hi".into()), malformed("messages are binary frames")),
        ("oversized", true, Message::Binary(vec![0; size as usize].into()), too_large.clone()),
        ("oversized at once", false, Message::Binary(vec![0; size as usize].into()), too_large),
        ("no such channel", true, push(2, 1, 1), out_of_order("the channel is not open")),
        ("a push left out", true, push(1, 2, 1), out_of_order("pushes are numbered one by one")),
        ("a gap", true, push(1, 1, 5), out_of_order("the counters of a replica have a gap")),
        (
            "a chunk that was not sent",
            true,
            message(&stored),
            out_of_order("no catch-up is under way on this channel"),
        ),
    ]
}

#[tokio::test]
async fn broken_frames_close_with_their_code_while_others_are_served() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut other = Client::open(hub.address, "d", replica(1)).await;
    for (number, (name, is_open, message, fault)) in (1..).zip(broken()) {
        let mut client = if is_open {
            Client::open(hub.address, "d", replica(9)).await
        } else {
            Client::connect(hub.address).await
        };
        client.send(message).await;
        let expected = (fault.close_code(), fault.close_reason());
        assert_eq!(client.closed().await, expected, "{name}");
        other.store(number, insert(replica(1), number, b"served")).await;
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_replica_that_is_not_claimed_is_refused_and_the_connection_goes_on() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut client = Client::open(hub.address, "d", replica(1)).await;
    client.push(1, insert(replica(2), 1, b"of somebody else")).await;
    assert!(matches!(client.hear().await, HubMessage::Refused { id: 1, .. }));
    client.store(2, insert(replica(1), 1, b"mine")).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_does_not_hold_up_the_others() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { outgoing_bytes_max: 512 * 1024, ..Limits::default() };
    let hub = TestHub::start_with(Options::new(folder.path()).with_limits(limits)).await;
    let mut slow = Client::open(hub.address, "d", replica(1)).await;
    let presence = ClientMessage::Presence {
        channel: 1,
        replica: replica(1),
        name: "slow".into(),
        state: Vec::new(),
    };
    slow.say(&presence).await;
    let mut writer = Client::open(hub.address, "d", replica(2)).await;
    // The hub tells the others that it has given the slow one up.
    let mut shown = None;
    let mut counter = 0;
    while shown != Some(false) {
        counter += 1;
        assert!(counter < 1_000, "the slow reader is still there after {counter} frames");
        writer.push(counter, insert(replica(2), counter, &[7; 100_000])).await;
        loop {
            match writer.hear().await {
                HubMessage::Stored { .. } => break,
                HubMessage::Presence { shown: now, .. } => shown = Some(now.is_some()),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(slow.closed().await, (4429, Fault::SlowConsumer.close_reason()));
    writer.store(counter + 1, insert(replica(2), counter + 1, b"goes on")).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_damaged_entry_is_never_served_and_is_filled_in_again() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    let mut all = insert(replica(1), 1, b"sound");
    a.store(1, all.clone()).await;
    let other = insert(replica(1), 2, b"to be damaged");
    a.store(2, other.clone()).await;
    all.join(other.clone());
    hub.stop().await;
    let database = sync_hub::SqliteHub::open(&folder.path().join("hub.db"), 100).unwrap();
    let flip = "UPDATE entries SET body = CAST(replace(body, 'damaged', 'Damaged') AS BLOB)
                WHERE first = 2";
    assert_eq!(database.connection().execute(flip, []).unwrap(), 1);
    drop(database);
    let hub = TestHub::start(folder.path()).await;
    let mut b = Client::hello(hub.address).await;
    let open = ClientMessage::Open {
        channel: 1,
        document: "d".into(),
        cursor: None,
        context: CausalContext::default(),
        claims: Vec::new(),
        compares: false,
        unsent: Vec::new(),
    };
    b.say(&open).await;
    assert_eq!(b.closed().await, (1011, Fault::Storage.close_reason()));
    // The hub asks whoever has it.
    let mut a = Client::hello(hub.address).await;
    let caught = a.catch_up("d", None, all.context(), &[replica(1)]).await;
    assert!(!caught.context.contains(Dot::new(replica(1), 2)));
    a.store(1, other).await;
    let mut b = Client::hello(hub.address).await;
    assert_eq!(b.catch_up("d", None, CausalContext::default(), &[]).await.delta, all);
    hub.stop().await;
}
