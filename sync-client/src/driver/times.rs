//! How long what may take, and how often what is done: in simulated time, to the millisecond.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::line::{ATTEMPT_MS_MAX, Dial, LineEvent, Made};
use super::opened::{DOCUMENT, opened};
use super::sharing::Desk;
use super::weather::hub::Hub;
use super::{CONTACT_IDLE_MS_MAX, WELCOME_MS_MAX};
use crate::clock::TimeOfDay;
use crate::committer::CONTACT_MS_MAX;
use crate::contact::Contact;
use crate::error::LineError;
use crate::status::{Connection, Event, OfflineReason};
use crate::store::{Loaded, Store, open_file};

/// A stream to a hub that listens some time after the upgrade.
fn to_hub(hub: Hub, late: Duration) -> io::Result<DuplexStream> {
    let (near, far) = duplex(1 << 16);
    tokio::spawn(hub.serve_late(far, late));
    Ok(near)
}

/// What the line of a client comes to first, and after how many milliseconds.
fn first(dial: impl Fn(Hub) -> Made + Send + Sync + 'static) -> (u64, Connection) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let (shared, mut driver) = opened(folder.path(), "device", TimeOfDay::default(), None);
        let hub = Hub::start();
        driver.dial = Dial::Made(Arc::new(move || dial(hub.clone())));
        let (start, mut events) = (Instant::now(), shared.subscribe());
        let task = tokio::spawn(driver.run());
        let (ms, connection) = loop {
            if let Some(Event::Connection(connection)) = events.recv().await.unwrap() {
                break (start.elapsed().as_millis() as u64, connection);
            }
        };
        shared.steer(|state| state.is_stopping = true);
        task.await.unwrap();
        (ms, connection)
    })
}

/// Whether the line is up, or was given up because nothing came for so long.
fn is_up(limit_ms: u64, connection: &Connection) -> bool {
    match connection {
        Connection::Online => true,
        Connection::Offline(OfflineReason::Lost(why)) => {
            assert!(matches!(**why, LineError::Silent { ms } if ms == limit_ms), "{why}");
            false
        }
        Connection::Connecting | Connection::Offline(_) => panic!("{connection}"),
    }
}

#[test]
fn a_hub_may_take_so_long_for_its_welcome() {
    for (ms, is_in_time) in [(WELCOME_MS_MAX - 1, true), (WELCOME_MS_MAX + 1, false)] {
        let late = Duration::from_millis(ms);
        let (after, connection) = first(move |hub| Box::pin(async move { to_hub(hub, late) }));
        assert_eq!(is_up(WELCOME_MS_MAX, &connection), is_in_time, "{ms}");
        assert_eq!(after, ms.min(WELCOME_MS_MAX));
    }
}

#[test]
fn an_attempt_may_take_so_long() {
    for (ms, is_in_time) in [(ATTEMPT_MS_MAX - 1, true), (ATTEMPT_MS_MAX + 1, false)] {
        let (after, connection) = first(move |hub| {
            Box::pin(async move {
                sleep(Duration::from_millis(ms)).await;
                to_hub(hub, Duration::ZERO)
            })
        });
        assert_eq!(is_up(ATTEMPT_MS_MAX, &connection), is_in_time, "{ms}");
        assert_eq!(after, ms.min(ATTEMPT_MS_MAX));
    }
    let (after, connection) = first(|_| Box::pin(pending()));
    assert!(!is_up(ATTEMPT_MS_MAX, &connection));
    assert_eq!(after, ATTEMPT_MS_MAX);
}

const CONTACT: Contact = Contact { heard_ms: Some(7), current_ms: Some(5) };

/// A client that has just heard of its hub, this long after it was opened.
fn heard(ms: u64) -> Desk {
    let desk = Desk::open();
    desk.shared.lock().contacts.insert(DOCUMENT.to_owned(), CONTACT);
    desk.pass(Duration::from_millis(ms));
    desk
}

/// Whether the contact is on disk.
fn is_noted(desk: Desk) -> bool {
    drop((desk.driver, desk.shared));
    let mut store = Store::new(open_file(desk.folder.path()).unwrap()).unwrap();
    let Loaded { contact, .. } = store.load(DOCUMENT).unwrap();
    contact == CONTACT
}

#[test]
fn contacts_that_are_old_enough_go_with_what_is_stored_anyway() {
    for (ms, is_due) in
        [(CONTACT_MS_MAX - 1, false), (CONTACT_MS_MAX, true), (CONTACT_MS_MAX + 1, true)]
    {
        let mut desk = heard(ms);
        desk.change(0);
        assert!(desk.turn());
        assert_eq!(is_noted(desk), is_due, "{ms}");
    }
}

#[test]
fn contacts_on_a_line_that_is_idle_are_stored_once_they_are_old_enough() {
    for (ms, is_due) in [
        (CONTACT_IDLE_MS_MAX - 1, false),
        (CONTACT_IDLE_MS_MAX, true),
        (CONTACT_IDLE_MS_MAX + 1, true),
    ] {
        let mut desk = heard(ms);
        let driver = desk.driver.as_mut().unwrap();
        let entered = desk.runtime.enter();
        driver.handle_line(LineEvent::Frame(Bytes::new()));
        let notes_contacts = driver.shared.committer().as_ref().unwrap().notes_contacts;
        assert_eq!(notes_contacts, is_due, "{ms}");
        driver.turn();
        drop(entered);
        assert_eq!(is_noted(desk), is_due, "{ms}");
    }
}
