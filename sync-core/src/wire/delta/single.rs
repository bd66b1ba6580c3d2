//! A delta of one entry, or of one note: what most changes are. Each of its columns is one item, so it is
//! written and read from front to back, to and from the same bytes as any other.

use super::{
    IdReader, IdWriter, Named, Names, Numbers, Objects, Reader, check_bytes, checked_with, take,
    write_dead,
};
use crate::causal::{Delta, Dot, Entry, Label, Note, ReplicaId, Slots};
use crate::error::Malformed;
use crate::pack::varint::{read, unzigzag, write, zigzag};
use crate::time::Stamp;
use crate::wire::Dictionary;

/// Writes such a delta if the dictionary has all that it names. Does nothing, and says so, otherwise.
pub(super) fn write_single(
    out: &mut Vec<u8>,
    delta: &Delta,
    dictionary: &Dictionary,
    names: &dyn Names,
) -> bool {
    let Delta { entries, dead, notes } = delta;
    let (first, stamp, label, id, slots) = match (&entries[..], &notes[..]) {
        ([Entry { first, stamp, label, id, slots }], []) => (first, stamp, label, id, Some(slots)),
        ([], [Note { dot, stamp, label, id }]) => (dot, stamp, label, id, None),
        _ => return false,
    };
    let number = |replica: &ReplicaId| dictionary.replica_table().number(replica);
    let (Some(replica), Some(label_number)) =
        (number(&first.replica), dictionary.label_table().number(label))
    else {
        return false;
    };
    if dead.iter().any(|(replica, _)| number(&replica).is_none()) {
        return false;
    }
    let named = match (IdWriter { dead, names, last: None }).name(label.space(), id) {
        Named::OfDot { replica, counter, .. } => match number(&replica) {
            Some(number) => Named::OfDot { replica, number: number as u64, counter },
            None => return false,
        },
        named => named,
    };
    // No replica and no label stands at the front.
    out.extend_from_slice(&[0, 0]);
    write_dead(out, dead, dead.iter().map(|(replica, _)| number(&replica).unwrap_or(0) as u64));
    out.extend_from_slice(&[entries.len() as u8, notes.len() as u8]);
    write(out, label_number as u64);
    write(out, replica as u64);
    write(out, zigzag(first.counter.cast_signed()));
    write(out, zigzag(stamp.to_bits().cast_signed()));
    let is_checked = named.is_by_dot();
    named.write(out, id, |number| number);
    if is_checked {
        out.extend_from_slice(&check_bytes(checked_with(None, id)));
    }
    out.extend_from_slice(slots.map(Slots::as_packed).unwrap_or_default());
    true
}

impl Reader<'_> {
    /// Reads the columns of such a delta.
    pub(super) fn read_single(
        &mut self,
        replicas: &Numbers<'_, ReplicaId>,
        labels: &Numbers<'_, Label>,
        objects: &dyn Objects,
        is_note: bool,
        delta: &mut Delta,
    ) -> Result<(), Malformed> {
        let label = labels.item(read(&mut self.rest)?)?;
        if label.is_empty() != is_note {
            return Err(Malformed::Inconsistent { what: "a run has slots, and a note none" });
        }
        let replica = *replicas.item(read(&mut self.rest)?)?;
        let dot = Dot::new(replica, unzigzag(read(&mut self.rest)?).cast_unsigned());
        let stamp = Stamp::from_bits(unzigzag(read(&mut self.rest)?).cast_unsigned());
        let dead = &delta.dead;
        let mut ids = IdReader { objects, replicas, dead, last: None, check: None, named_bytes: 0 };
        let id = ids.read(&mut self.rest, label)?;
        if let Some(check) = ids.check
            && take(&mut self.rest, 2)? != check_bytes(check)
        {
            return Err(Malformed::Dangling);
        }
        let label = label.clone();
        if is_note {
            delta.notes.push(Note { dot, stamp, label, id });
        } else {
            let slots = Slots::take(&mut self.rest)?;
            delta.entries.reserve_exact(1);
            delta.entries.push(Entry { first: dot, stamp, label, id, slots });
        }
        Ok(())
    }
}
