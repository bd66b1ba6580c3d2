//! What is measured: this core, a peer or the floor, behind one trait.

use crate::data::{Id, Operation, Record};

/// The name of the map or collection that holds the records.
pub const RECORDS: &str = "docs";

/// A replica of a document of records.
///
/// The id of a replica decides everything that a library would draw at random, so that two runs are
/// the same.
pub trait Subject: Sized {
    /// An empty document.
    fn new(replica: u32) -> Self;

    /// A document from a snapshot, to go on as another replica.
    fn load(snapshot: &[u8], replica: u32) -> Self;

    /// Does one operation in a transaction of its own.
    fn write(&mut self, operation: &Operation);

    /// Does one operation in a transaction of its own, and encodes the delta for another replica.
    fn write_and_encode(&mut self, operation: &Operation) -> Vec<u8>;

    /// Decodes and joins what `write_and_encode` or `exchange` of another replica gave.
    fn apply(&mut self, delta: &[u8]);

    /// The smallest snapshot that the library makes.
    fn snapshot(&mut self) -> Vec<u8>;

    /// A snapshot without compression; `None` where `snapshot` is that, or where there is none.
    fn snapshot_plain(&mut self) -> Option<Vec<u8>>;

    /// Reads one record whole.
    fn read(&self, id: &Id) -> Option<Record>;

    /// Reads every record whole, in any order.
    fn read_all(&self, each: &mut dyn FnMut(Record));

    /// What this replica tells about what it has seen.
    fn summary(&mut self) -> Vec<u8>;

    /// Everything that a replica with this summary lacks: what was `done` to the snapshot `loaded`. Most
    /// libraries need neither, since they keep a history.
    fn exchange(&mut self, loaded: &[u8], summary: &[u8], done: &[Operation]) -> Vec<u8>;
}

/// The key of a record where keys are texts: the UUID in URL-safe Base64 without padding, 22 bytes.
#[must_use]
pub fn key(id: &Id) -> String {
    let mut key = String::with_capacity(22);
    let digits = u128::from_be_bytes(*id);
    for place in (0..22).rev() {
        let six = (digits >> (place * 6)) & 63;
        key.push(char::from(ALPHABET[six as usize]));
    }
    key
}

/// The UUID that a key stands for.
#[must_use]
pub fn id(key: &str) -> Option<Id> {
    let mut digits = 0u128;
    for byte in key.bytes() {
        let six = ALPHABET.iter().position(|letter| *letter == byte)?;
        digits = digits << 6 | six as u128;
    }
    Some(digits.to_be_bytes())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
