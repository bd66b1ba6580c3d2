//! The disk of a device: what it has for good, and a queue of batches that a crash may take.

use std::collections::BTreeSet;

use sync_core::causal::ReplicaId;
use sync_core::error::Sure;
use sync_core::session::{Device, OutboxItem, OutboxState, Persist, SavedDocument, Step};

use crate::invariant::{Invariant, Violation};
use crate::kernel::Written;
use crate::model::ChangeId;

/// What survives every crash.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) documents: Vec<DocumentFile>,
    /// The changes of this device, or of the one that it was copied from, that are here.
    pub(crate) has: BTreeSet<ChangeId>,
    /// Whether it was ever copied or put back.
    pub(crate) is_copied: bool,
}

/// One document on a disk.
#[derive(Debug, Clone)]
pub(crate) struct DocumentFile {
    pub(crate) saved: SavedDocument,
    /// What each dot that was ever here is about.
    pub(crate) written: Written,
    pub(crate) replica: ReplicaId,
    /// What is known of other devices.
    pub(crate) devices: Vec<Device>,
}

/// A batch on its way to the disk.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) document: usize,
    pub(crate) persist: Persist,
    /// The changes of the device that are in it.
    pub(crate) changes: Vec<ChangeId>,
}

impl Disk {
    pub(crate) fn new(replica: ReplicaId, documents: usize) -> Self {
        let file = DocumentFile {
            saved: SavedDocument::default(),
            written: Written::default(),
            replica,
            devices: Vec::new(),
        };
        let documents = vec![file; documents];
        Self { documents, has: BTreeSet::new(), is_copied: false }
    }

    /// Forgets which items were frozen, as a broken driver would.
    pub(crate) fn thaw(&mut self) {
        for item in self.documents.iter_mut().flat_map(|file| &mut file.saved.outbox) {
            item.state = OutboxState::Pending;
        }
    }

    /// Does what a batch says: whole, as in one transaction.
    pub(crate) fn apply(&mut self, batch: Batch) -> Result<(), Violation> {
        let file = &mut self.documents[batch.document];
        for step in batch.persist.steps {
            file.apply(step)?;
        }
        self.has.extend(batch.changes);
        Ok(())
    }
}

impl DocumentFile {
    fn apply(&mut self, step: Step) -> Result<(), Violation> {
        let Self { saved, written, replica, devices } = self;
        match step {
            Step::Join(delta) => {
                written.take(&delta);
                saved.store.join(&delta);
            }
            Step::Record(_) => {}
            Step::Enqueue { item, replaces } => return self.enqueue(item, replaces),
            Step::Freeze(key) => {
                for item in saved.outbox.iter_mut().filter(|item| item.key() == key) {
                    item.state = OutboxState::Frozen;
                }
            }
            Step::Settle(key) => saved.outbox.retain(|item| item.key() != key),
            Step::Park { key, reason } => {
                for item in saved.outbox.iter_mut().filter(|item| item.key() == key) {
                    item.state = OutboxState::Parked { reason: reason.clone() };
                }
            }
            Step::Follow(cursor) => saved.cursor = Some(cursor),
            Step::Log(entry) => {
                let key = entry.key();
                saved.log.retain(|known| known.key() != key);
                saved.log.push(entry);
            }
            Step::Renew(fresh) => *replica = fresh,
            Step::Know(device) => {
                devices.retain(|known| !known.replica.is_kin(&device.replica));
                devices.push(*device);
            }
            Step::Forget(forgotten) => {
                devices.retain(|known| !known.replica.is_kin(&forgotten));
            }
            Step::Rename(renaming) => {
                renaming.apply(&mut saved.store).sure();
                written.rename(&renaming);
                let items = std::mem::take(&mut saved.outbox).into_iter();
                saved.outbox = items.map(|item| item.renamed(&renaming)).collect();
                saved.cursor = None;
            }
        }
        Ok(())
    }

    fn enqueue(
        &mut self,
        item: OutboxItem,
        replaces: Option<sync_core::causal::Dot>,
    ) -> Result<(), Violation> {
        let outbox = &mut self.saved.outbox;
        match outbox.iter_mut().find(|known| Some(known.key()) == replaces) {
            Some(known) if known.state != OutboxState::Pending => {
                let detail = format!("the item {} changed after it was frozen", known.key());
                return Err(Violation { invariant: Invariant::DurableBeforeVisible, detail });
            }
            Some(known) => *known = item,
            None => outbox.push(item),
        }
        Ok(())
    }
}
