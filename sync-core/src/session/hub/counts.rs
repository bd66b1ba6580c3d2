//! What a hub has done so far.

/// Counts since the hub was made; none ever gets smaller.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Deltas that were taken.
    pub taken: u64,
    /// Deltas that were sent on, each to one connection.
    pub relayed: u64,
    /// Deltas that were refused, since the token lets the document be read only.
    pub refused_read_only: u64,
    /// Deltas that were refused, since their replica is not claimed.
    pub refused_unclaimed: u64,
    /// Deltas that were refused, since their clock was wrong.
    pub refused_clock: u64,
    /// Deltas of which a part was refused, since a copy of the replica wrote something else.
    pub refused_copy: u64,
    /// Catch-ups that started from a cursor.
    pub resumed: u64,
    /// Catch-ups that started without one.
    pub caught_up_whole: u64,
    /// Comparisons.
    pub compared: u64,
    /// Chunks of catch-ups.
    pub chunks: u64,
    /// Bytes of their frames.
    pub chunk_bytes: u64,
}

impl Counts {
    pub(super) fn opened(&mut self, resumes: bool, compares: bool) {
        let count = match (resumes, compares) {
            (true, _) => &mut self.resumed,
            (false, true) => &mut self.compared,
            (false, false) => &mut self.caught_up_whole,
        };
        *count += 1;
    }
}
