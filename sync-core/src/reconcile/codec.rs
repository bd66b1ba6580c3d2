//! Bytes of messages: numbers of variable length and of a fixed width, and sets of positions.

use super::space::Places;
use crate::causal::Sum;
use crate::error::Malformed;
use crate::pack::varint;

pub(super) fn broken(detail: &'static str) -> Malformed {
    Malformed::Encoding { detail }
}

/// How many bytes a number takes at a fixed width: at least 1.
pub(super) fn byte_width(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(8)
}

/// Takes numbers and bytes off the front of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn peek(&self, index: usize) -> Option<u8> {
        self.0.get(index).copied()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) =
            self.0.split_at_checked(count).ok_or_else(|| broken("ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| broken("ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number of `width` bytes, at most 8, low byte first.
    pub(super) fn fixed(&mut self, width: usize) -> Result<u64, Malformed> {
        let mut whole = [0; 8];
        let place = whole.get_mut(..width).ok_or_else(|| broken("a number is too wide"))?;
        place.copy_from_slice(self.bytes(width)?);
        Ok(u64::from_le_bytes(whole))
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        varint::read(&mut self.0)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Malformed> {
        self.number().map(varint::unzigzag)
    }

    /// A count of things that take at least `bytes_min` bytes each, so that no more is ever allocated
    /// than the message can hold.
    pub(super) fn count(&mut self, bytes_min: usize) -> Result<usize, Malformed> {
        let number = self.number()?;
        let limit = self.0.len() / bytes_min.max(1);
        match usize::try_from(number) {
            Ok(count) if count <= limit => Ok(count),
            Ok(_) | Err(_) => Err(broken("a count is larger than the message")),
        }
    }

    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(broken("bytes are left over")) }
    }
}

/// Appends a sum.
pub(super) fn put_sum(bytes: &mut Vec<u8>, sum: Sum) {
    bytes.extend_from_slice(&sum.hash.to_le_bytes());
    varint::write(bytes, sum.count);
}

/// Reads what [`put_sum`] wrote.
pub(super) fn take_sum(reader: &mut Reader<'_>) -> Result<Sum, Malformed> {
    let hash = reader.fixed(8)?;
    Ok(Sum { hash, count: reader.number()? })
}

/// Appends a range: the gap to the one before, and its length unless it is 1.
pub(super) fn put_range(bytes: &mut Vec<u8>, gap: u64, length: u64) {
    varint::write(bytes, gap << 1 | u64::from(length > 1));
    if length > 1 {
        varint::write(bytes, length - 2);
    }
}

/// How many bytes [`put_range`] appends.
pub(super) fn range_length(gap: u64, length: u64) -> usize {
    varint::len(gap << 1) + if length > 1 { varint::len(length - 2) } else { 0 }
}

/// Reads a range and gives its `start..end`, where the one before ended at `last`; ranges after the
/// first leave at least one position out.
pub(super) fn take_range(
    reader: &mut Reader<'_>,
    last: Option<u64>,
    limit: u64,
) -> Result<(u64, u64), Malformed> {
    let head = reader.number()?;
    let length = if head & 1 == 0 { 1 } else { reader.number()?.saturating_add(2) };
    let gap = (head >> 1).saturating_add(u64::from(last.is_some()));
    let start = last.unwrap_or(0).saturating_add(gap);
    let end = start.saturating_add(length);
    if end > limit {
        return Err(broken("a position is out of range"));
    }
    Ok((start, end))
}

/// Appends ranges; the number of them comes first.
pub(super) fn put_places(bytes: &mut Vec<u8>, places: &Places) {
    varint::write(bytes, places.range_count() as u64);
    let mut last = None;
    for (start, end) in places.iter() {
        put_range(bytes, last.map_or(start, |last| start - last - 1), end - start);
        last = Some(end);
    }
}

/// Reads what [`put_places`] wrote, of positions below `limit`.
pub(super) fn take_places(reader: &mut Reader<'_>, limit: u64) -> Result<Places, Malformed> {
    let mut places = Places::default();
    let mut last = None;
    for _ in 0..reader.count(1)? {
        let (start, end) = take_range(reader, last, limit)?;
        places.insert(start, end);
        last = Some(end);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_places_come_back(
            numbers in proptest::collection::vec(any::<u64>(), 0..9),
            shifts in proptest::collection::vec(0u32..64, 9),
            ranges in proptest::collection::vec((0u64..300, 1u64..9), 0..9),
        ) {
            let mut bytes = Vec::new();
            let numbers: Vec<u64> = numbers.iter().zip(shifts).map(|(n, by)| n >> by).collect();
            for number in &numbers {
                let before = bytes.len();
                varint::write(&mut bytes, *number);
                prop_assert_eq!(bytes.len() - before, varint::len(*number));
                varint::write(&mut bytes, varint::zigzag(*number as i64));
            }
            let mut places = Places::default();
            ranges.iter().for_each(|(start, length)| places.insert(*start, start + length));
            put_places(&mut bytes, &places);
            let mut reader = Reader::new(&bytes);
            for number in &numbers {
                prop_assert_eq!(reader.number().unwrap(), *number);
                prop_assert_eq!(reader.signed().unwrap(), *number as i64);
            }
            prop_assert_eq!(take_places(&mut reader, 400).unwrap(), places.clone());
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(places) = take_places(&mut Reader::new(&bytes), 1 << 40) {
                let mut again = Vec::new();
                put_places(&mut again, &places);
                // A range longer than 1 has one form, so what was read is what would be written.
                prop_assert_eq!(&bytes[..again.len()], &again[..]);
            }
        }
    }

    #[test]
    fn numbers_that_are_long_or_large_are_refused() {
        for bytes in [&[0x80, 0x00][..], &[0x80], &[0xFF; 10], &[0xFF; 11]] {
            assert!(Reader::new(bytes).number().is_err(), "{bytes:x?}");
        }
        assert!(Reader::new(&[200, 1, 0, 0]).count(1).is_err());
    }
}
