//! Undo between the moment when a session finds that its file is a copy's, and the commit of that.

use std::path::Path;

use sync_core::session::{
    Boot, ClientConfig, ClientInput, ClientOutput, Hub, HubInput, HubOutput, MemoryHub, Phase, Step,
};

use super::turn;
use crate::clock::{AgeClock, Clock, TimeOfDay};
use crate::shared::{Session, Shared};
use crate::status::{Connection, OfflineReason};
use crate::store::{Limits, Loaded, Store, open_file};
use crate::undo::Histories;
use sync_core::session::RecordLevel;

const NAME: &str = "d";

/// A client without a driver: each of its steps is made by hand.
struct Hand {
    shared: Shared,
    store: Store,
}

impl Hand {
    fn open(folder: &Path, opening: u64) -> Self {
        let mut store = Store::new(open_file(folder).unwrap()).unwrap();
        let mut session = Session::new(ClientConfig::default());
        let Loaded { saved, replica, .. } = store.load(NAME).unwrap();
        session.open(NAME, saved, replica, opening).unwrap();
        session.record(NAME, RecordLevel::Changes).unwrap();
        let mut histories = Histories::new(store.next_undo().unwrap(), AgeClock::default());
        histories.keep(NAME, Limits::UNDO, store.history(NAME).unwrap());
        store.opened().unwrap();
        let connection = Connection::Offline(OfflineReason::NoHub);
        let shared = Shared::new(
            session,
            connection,
            false,
            Clock::new(TimeOfDay::new(|| 1_700_000_000_000)),
        );
        shared.lock().histories = histories;
        Self { shared, store }
    }

    fn write(&self, member: &str) {
        self.shared.change(NAME, |edit| edit.set_add("s", &member.into())).unwrap();
    }

    fn members(&self) -> usize {
        self.shared.lock().session.document(NAME).unwrap().set("s").unwrap().len()
    }

    /// Stores what is to be stored. Gives the frames to send.
    fn store(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            let output = self.shared.lock().session.poll();
            match output {
                Some(ClientOutput::Persist(batch)) => {
                    self.store.write(&batch).unwrap();
                    let news = self.shared.lock().histories.take_news();
                    self.store.write_histories(&news).unwrap();
                    self.store.commit().unwrap();
                    let now = self.shared.now();
                    self.shared.lock().handle(now, ClientInput::Persisted(batch.id));
                }
                Some(ClientOutput::Send(frame)) => frames.push(frame),
                Some(ClientOutput::Disconnect { .. } | ClientOutput::Event(_)) => {}
                None => return frames,
            }
        }
    }

    /// Talks with a hub until it has nothing more to say, or this is renamed. Gives whether it is.
    fn talk(&mut self, hub: &mut Hub, at: &mut MemoryHub, line: u64) -> bool {
        let now = self.shared.now();
        hub.handle(at, now, line, HubInput::Connected).unwrap();
        self.shared.lock().handle(now, ClientInput::Connected);
        loop {
            let frames = self.store();
            for frame in &frames {
                hub.handle(at, now, line, HubInput::Frame(frame.clone())).unwrap();
            }
            let mut is_over = frames.is_empty();
            while let Some(output) = hub.poll() {
                assert!(!matches!(output, HubOutput::Close { .. }), "{output:?}");
                if let HubOutput::Send { frame, .. } = output {
                    is_over = false;
                    self.shared.lock().handle(now, ClientInput::Frame(frame.to_vec()));
                    if !self.shared.lock().session.renamings(NAME).unwrap().is_empty() {
                        return true;
                    }
                }
            }
            if is_over {
                assert_eq!(self.shared.lock().session.phase(NAME), Ok(Phase::Live));
                hub.handle(at, now, line, HubInput::Disconnected).unwrap();
                return false;
            }
        }
    }
}

#[test]
fn what_was_just_found_to_be_a_copys_is_undone_before_that_is_on_disk() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [original, copy] = folders.each_ref().map(tempfile::TempDir::path);
    let (mut hub, mut at) = (Hub::default(), MemoryHub::new(Boot { hub: 1, boot: 1 }));
    let mut one = Hand::open(original, 1);
    one.write("shared");
    assert!(!one.talk(&mut hub, &mut at, 1));
    drop(one);
    std::fs::copy(original.join("client.db"), copy.join("client.db")).unwrap();
    let mut one = Hand::open(original, 2);
    one.write("of the original");
    assert!(!one.talk(&mut hub, &mut at, 2));
    let mut other = Hand::open(copy, 3);
    other.write("a");
    other.write("b");
    assert!(other.talk(&mut hub, &mut at, 3), "it is renamed");
    let unstored = other.shared.lock().session.poll();
    let Some(ClientOutput::Persist(batch)) = unstored else { panic!("{unstored:?}") };
    assert!(batch.steps.iter().any(|step| matches!(step, Step::Rename(_))));
    assert_eq!(other.members(), 3);
    for left in [2, 1] {
        turn(&other.shared, NAME, false).unwrap().unwrap();
        assert_eq!(other.members(), left);
    }
    for left in [2, 3] {
        turn(&other.shared, NAME, true).unwrap().unwrap();
        assert_eq!(other.members(), left);
    }
    // And so it is found on disk.
    other.store.write(&batch).unwrap();
    other.store();
    drop(other);
    let other = Hand::open(copy, 4);
    turn(&other.shared, NAME, false).unwrap().unwrap();
    assert_eq!(other.members(), 2);
}
