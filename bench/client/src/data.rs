//! The records of every workload: drawn from a seed, the same for both sides.

use std::fmt::Write;

use fastrand::Rng;

/// How many bytes of words a body has, and of letters a title: a record has 245 bytes with its id, a flag
/// and a time.
const BODY_BYTES: usize = 200;
const TITLE_BYTES: usize = 20;

/// What both sides store.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The text of a UUID of version 4.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) flag: bool,
    /// Milliseconds since 1970.
    pub(crate) time: i64,
}

/// Draws records.
#[derive(Debug)]
pub(crate) struct Records(Rng);

impl Records {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// Lower-case words of this many bytes.
    pub(crate) fn text(&mut self, bytes: usize) -> String {
        let letter = |random: &mut Rng| if random.u8(0..7) == 0 { ' ' } else { random.lowercase() };
        (0..bytes).map(|_| letter(&mut self.0)).collect()
    }

    fn id(&mut self) -> String {
        let bits = self.0.u128(..) & !(0xf << 76) & !(0x3 << 62) | (4 << 76) | (2 << 62);
        let mut text = String::with_capacity(36);
        for (at, digit) in format!("{bits:032x}").chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                text.push('-');
            }
            // Writing to a text does not fail.
            let _ = text.write_char(digit);
        }
        text
    }
}

impl Iterator for Records {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (id, title, body) = (self.id(), self.text(TITLE_BYTES), self.text(BODY_BYTES));
        let time = 1_750_000_000_000 + i64::from(self.0.u32(..));
        Some(Record { id, title, body, flag: self.0.bool(), time })
    }
}
