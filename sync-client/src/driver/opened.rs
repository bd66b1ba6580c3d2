//! A driver for tests, on a folder, with one document.

use std::path::Path;
use std::sync::Arc;

use sync_core::session::ClientConfig;

use super::Driver;
use crate::clock::{Clock, TimeOfDay};
use crate::contact::Contacts;
use crate::random;
use crate::shared::{Session, Shared};
use crate::status::Connection;
use crate::store::{Loaded, Store, open_file};
use crate::token::TokenSource;

/// Its one document.
pub(super) const DOCUMENT: &str = "notes";

/// A driver that has done nothing yet, and what handles share with it.
pub(super) fn opened(
    folder: &Path,
    agent: &str,
    day: TimeOfDay,
    tokens: Option<TokenSource>,
) -> (Arc<Shared>, Driver) {
    let mut store = Store::new(open_file(folder).unwrap()).unwrap();
    let config = ClientConfig { agent: agent.to_owned(), ..ClientConfig::default() };
    let mut session = Session::new(config);
    let Loaded { saved, replica, contact, .. } = store.load(DOCUMENT).unwrap();
    let opening = u64::from_ne_bytes(random::bytes().unwrap());
    session.open(DOCUMENT, saved, replica, opening).unwrap();
    store.opened().unwrap();
    let shared = Shared::new(session, Connection::Connecting, false, Clock::new(day));
    let shared = Arc::new(shared);
    shared.lock().contacts = Contacts::from([(DOCUMENT.to_owned(), contact)]);
    let hub = Some("http://hub".parse().unwrap());
    let driver = Driver::new(shared.clone(), store, hub, tokens);
    (shared, driver)
}
