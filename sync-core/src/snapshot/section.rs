//! Columns of lengths and bytes.
//!
//! A column begins with a number: 0, and the lengths follow one by one; else all have one length, which
//! is one less than the number. Then the bytes, one value behind the other.

use crate::error::Malformed;
use crate::pack::varint;

/// Values to be written as a column.
#[derive(Debug, Default)]
pub(super) struct Column {
    lens: Vec<u8>,
    bytes: Vec<u8>,
    /// The length of all values so far, while it is one.
    common: Option<usize>,
    count: usize,
}

impl Column {
    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) {
        match self.common {
            Some(len) if len == value.len() => {}
            _ if self.count == 0 => self.common = Some(value.len()),
            _ => self.spell_out(),
        }
        self.count += 1;
        if self.common.is_none() {
            varint::write(&mut self.lens, value.len() as u64);
        }
        self.bytes.extend_from_slice(value);
    }

    /// Writes the lengths one by one from here on, with those so far.
    fn spell_out(&mut self) {
        if let Some(len) = self.common.take() {
            for _ in 0..self.count {
                varint::write(&mut self.lens, len as u64);
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.common {
            Some(len) => varint::write(out, len as u64 + 1),
            None => {
                varint::write(out, 0);
                out.extend_from_slice(&self.lens);
            }
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// A column as it is read, value by value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values<'a> {
    lens: &'a [u8],
    common: Option<usize>,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    /// Takes a column of `count` values off the front, after a look at its lengths.
    pub(super) fn take(rest: &mut &'a [u8], count: usize) -> Result<Self, Malformed> {
        let common = varint::read(rest)?;
        let (mut lens, mut sum) = (*rest, 0u64);
        let common = match common.checked_sub(1) {
            Some(len) => {
                sum = len.checked_mul(count as u64).ok_or(SHORT)?;
                lens = &[];
                Some(usize::try_from(len).map_err(|_| SHORT)?)
            }
            None => {
                for _ in 0..count {
                    sum = sum.checked_add(varint::read(rest)?).ok_or(SHORT)?;
                }
                lens = &lens[..lens.len() - rest.len()];
                None
            }
        };
        let len = usize::try_from(sum).map_err(|_| SHORT)?;
        let (bytes, behind) = rest.split_at_checked(len).ok_or(SHORT)?;
        *rest = behind;
        Ok(Self { lens, common, bytes })
    }

    /// The next value. There are as many as were asked for.
    #[inline]
    pub(super) fn next(&mut self) -> Result<&'a [u8], Malformed> {
        let len = match self.common {
            Some(len) => len,
            None => varint::read(&mut self.lens)? as usize,
        };
        let (value, rest) = self.bytes.split_at_checked(len).ok_or(SHORT)?;
        self.bytes = rest;
        Ok(value)
    }
}

pub(super) const SHORT: Malformed = Malformed::Encoding { detail: "a snapshot ends too early" };

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_keep_their_values(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..9),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut column = Column::default();
            values.iter().for_each(|value| column.push(value));
            let mut bytes = Vec::new();
            column.write(&mut bytes);
            let mut rest = &bytes[..];
            let mut read = Values::take(&mut rest, values.len()).unwrap();
            prop_assert!(rest.is_empty());
            for value in &values {
                prop_assert_eq!(read.next().unwrap(), &value[..]);
            }
            let short = &bytes[..cut.index(bytes.len())];
            if let Ok(mut read) = Values::take(&mut &*short, values.len()) {
                // A column of no bytes may end where the cut is.
                prop_assert!(values.iter().all(|value| read.next() == Ok(&value[..])));
            }
        }
    }
}
