//! What devices hold, over real sockets and the hub's own clock.

use sync_core::session::limits::HELD_MS;
use sync_core::wire::{ClientMessage, HubMessage};
use tempfile::TempDir;

use crate::client::{Client, TestHub, insert, replica};

#[tokio::test]
async fn what_a_device_holds_is_passed_on_after_a_while_and_told_to_who_comes_later() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let held = |number, seq, name: Option<&str>| {
        let name = name.map(str::to_owned);
        ClientMessage::Held { channel: 1, replica: replica(number), seq, name }
    };
    let mut a = Client::open(hub.address, "d", replica(1)).await;
    let mut b = Client::open(hub.address, "d", replica(2)).await;
    let seq = a.store(1, insert(replica(1), 1, b"hello")).await;
    assert!(matches!(b.hear().await, HubMessage::Delta { .. }));
    a.say(&held(1, seq, Some("a"))).await;
    // The hub has heard it.
    a.say(&ClientMessage::Ping).await;
    assert_eq!(a.hear().await, HubMessage::Pong);
    b.say(&held(2, seq, None)).await;
    let HubMessage::Held { channel: 1, holders } = a.hear().await else { panic!("of b") };
    let of_b: Vec<_> = holders.iter().filter(|holder| holder.replica == replica(2)).collect();
    assert_eq!((of_b.len(), of_b[0].seq, of_b[0].name.as_str()), (1, seq, ""));
    assert!(of_b[0].age_ms <= 100 * HELD_MS);
    drop(a);
    let mut c = Client::open(hub.address, "d", replica(3)).await;
    c.say(&held(3, seq, Some("c"))).await;
    let HubMessage::Held { channel: 1, holders } = c.hear().await else { panic!("of both") };
    let names: Vec<_> = holders.iter().map(|holder| (holder.replica, &*holder.name)).collect();
    assert_eq!(names, [(replica(1), "a"), (replica(2), "")]);
    // Nobody told b, who does not ask.
    b.say(&ClientMessage::Ping).await;
    assert_eq!(b.hear().await, HubMessage::Pong);
    c.say(&held(3, seq + 1, Some("c"))).await;
    assert_eq!(c.closed().await.0, 4409);
    hub.stop().await;
}
