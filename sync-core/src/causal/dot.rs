//! Replica ids and dots: the names of writers and of events.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::Malformed;
use crate::text::{decimal, push_hex, read_hex};

/// One writer with a counter of its own: 96 bits of fingerprint, then 32 bits of incarnation.
///
/// The whole id is in every dot, so a new incarnation is a new replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplicaId([u8; 16]);

impl Ord for ReplicaId {
    // WebAssembly cannot swap bytes but by many instructions, at every place that compares.
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    fn cmp(&self, other: &Self) -> Ordering {
        if cfg!(target_arch = "wasm32") {
            return self.0.cmp(&other.0);
        }
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for ReplicaId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ReplicaId {
    /// Makes the id of the first incarnation from random bytes.
    #[must_use]
    pub fn from_fingerprint(fingerprint: [u8; 12]) -> Self {
        let mut bytes = [0; 16];
        bytes[..12].copy_from_slice(&fingerprint);
        Self(bytes)
    }

    /// Takes the 16 bytes as they are stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Takes the bytes of a slice of length 16.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 16 bytes: fingerprint, then incarnation in big-endian order.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Counts the incarnations of one fingerprint, from 0.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        let mut tail = [0; 4];
        tail.copy_from_slice(&self.0[12..]);
        u32::from_be_bytes(tail)
    }

    /// Whether both are incarnations of one fingerprint.
    #[must_use]
    pub fn is_kin(&self, other: &Self) -> bool {
        self.0[..12] == other.0[..12]
    }

    /// The id as text: 32 hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(32);
        push_hex(&mut text, &self.0);
        text
    }

    /// The same fingerprint under another incarnation: another replica.
    #[must_use]
    pub fn with_incarnation(&self, incarnation: u32) -> Self {
        let mut bytes = self.0;
        bytes[12..].copy_from_slice(&incarnation.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReplicaId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 16];
        let what = "a replica id is 32 hexadecimal digits";
        let read = read_hex(&text.as_bytes().to_ascii_lowercase(), &mut bytes);
        read.map(|()| Self(bytes)).ok_or(Malformed::Inconsistent { what })
    }
}

/// One event: the replica and its counter. Counters start at 1. A dot names its event for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dot {
    /// Who.
    pub replica: ReplicaId,
    /// The how-manieth event of that replica, from 1.
    pub counter: u64,
}

impl Ord for Dot {
    #[cfg_attr(not(target_arch = "wasm32"), inline)]
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    fn cmp(&self, other: &Self) -> Ordering {
        self.replica.cmp(&other.replica).then(self.counter.cmp(&other.counter))
    }
}

impl PartialOrd for Dot {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Dot {
    /// The highest counter that is taken in: stores keep counters as signed numbers of 64 bits.
    pub const COUNTER_MAX: u64 = i64::MAX as u64;

    /// Names an event.
    #[must_use]
    pub const fn new(replica: ReplicaId, counter: u64) -> Self {
        Self { replica, counter }
    }

    /// The dot as text: replica, a colon, counter.
    #[must_use]
    pub fn text(&self) -> String {
        [&self.replica.text()[..], ":", &decimal(self.counter)].concat()
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_fingerprint_and_an_incarnation() {
        let first = ReplicaId::from_fingerprint([0xab; 12]);
        let later = first.with_incarnation(0x0102_0304);
        let mut bytes = [0xab; 16];
        bytes[12..].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!((later.as_bytes(), ReplicaId::from_bytes(bytes)), (&bytes, later));
        assert_eq!((first.incarnation(), later.incarnation()), (0, 0x0102_0304));
        assert!(first.is_kin(&later) && later.is_kin(&first) && first.is_kin(&first));
        for at in 0..12 {
            let mut other = bytes;
            other[at] ^= 1;
            assert!(
                !later.is_kin(&ReplicaId::from_bytes(other)),
                "byte {at} is of the fingerprint"
            );
        }
    }

    #[test]
    fn ids_and_dots_are_shown_as_text() {
        let id = ReplicaId::from_bytes([0x0f; 16]);
        let text = "0f".repeat(16);
        assert_eq!((format!("{id}"), format!("{id:?}")), (text.clone(), text.clone()));
        assert_eq!(text.parse(), Ok(id));
        let dot = Dot::new(id, 42);
        assert_eq!(
            (format!("{dot}"), format!("{dot:?}")),
            (format!("{text}:42"), format!("{text}:42"))
        );
    }
}
