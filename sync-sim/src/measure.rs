//! What a run cost: frames, events, and what catch-ups took against what a client did not have.

/// A catch-up under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CatchUp {
    /// The bytes of one message with all that the client did not have.
    pub(crate) needed: usize,
    /// The bytes that were sent.
    pub(crate) sent: usize,
    pub(crate) chunks: usize,
    /// The bytes of what was said of removals, within those that were sent.
    pub(crate) note_bytes: usize,
    pub(crate) is_resumed: bool,
}

/// Sums of catch-ups of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CatchUps {
    /// How many ended.
    pub count: u64,
    /// How many chunks there were.
    pub chunks: u64,
    /// The bytes of all chunks.
    pub sent_bytes: u64,
    /// The bytes of one message for each, with exactly what the client did not have.
    pub needed_bytes: u64,
}

impl CatchUps {
    pub(crate) fn take(&mut self, one: CatchUp) {
        self.count += 1;
        self.chunks += one.chunks as u64;
        self.sent_bytes += one.sent as u64;
        self.needed_bytes += one.needed as u64;
    }

    /// Adds the sums of another run.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.chunks += other.chunks;
        self.sent_bytes += other.sent_bytes;
        self.needed_bytes += other.needed_bytes;
    }
}

/// What a run, or many, came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Changes that the application made.
    pub changes: u64,
    /// Frames that were sent.
    pub frames: u64,
    /// Catch-ups from a cursor.
    pub resumed: CatchUps,
    /// Catch-ups that compared everything.
    pub compared: CatchUps,
    /// Catch-ups from a cursor that brought 4 KiB or more, in chunks of the hub's own size.
    pub large: CatchUps,
    /// Counters that were held against the sum of what was added to them.
    pub counters: u64,
    /// Counters in which shares were added up that a copy went on with.
    pub added_up_apart: u64,
    /// Changes that a copy of a database wrote again as a fresh replica.
    pub written_again: u64,
    /// Documents in which hubs took a dot as two things.
    pub taken_twice: u64,
    /// Writes that were lost by that.
    pub lost_to_twice: u64,
    /// Documents in which a device, a hub or what the workload requires differs for good by that.
    pub apart_by_twice: u64,
    /// Connections that were closed for a fault, and runs that did not come to rest, by that.
    pub restless_by_twice: u64,
    /// Writes that were replaced by a change which then was lost with every disk that had it.
    pub lost_with_successor: u64,
    /// Records that are there only as the edit that met a delete.
    pub partial_records: u64,
    /// Fields that records lack, since nobody who held one heard of a removal that had not seen it.
    pub torn: u64,
    /// Gaps that stay in contexts: what was there went with every disk that had it.
    pub gaps: u64,
}

impl Tally {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.changes += other.changes;
        self.frames += other.frames;
        self.resumed.add(&other.resumed);
        self.compared.add(&other.compared);
        self.large.add(&other.large);
        self.counters += other.counters;
        self.added_up_apart += other.added_up_apart;
        self.written_again += other.written_again;
        self.taken_twice += other.taken_twice;
        self.lost_to_twice += other.lost_to_twice;
        self.apart_by_twice += other.apart_by_twice;
        self.restless_by_twice += other.restless_by_twice;
        self.lost_with_successor += other.lost_with_successor;
        self.partial_records += other.partial_records;
        self.torn += other.torn;
        self.gaps += other.gaps;
    }
}
