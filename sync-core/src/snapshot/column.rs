//! Columns of lengths and bytes.
//!
//! The head of a column begins with a number: its layout in the two lowest bits; above them 0, and the
//! lengths follow one by one, or one more than the length that all values have. Its bytes come behind
//! the heads of all columns, one value behind the other, unless the layout says otherwise.

use std::borrow::Cow;

use crate::small::SmallVec;

use super::NUMBER_BYTES_MAX;
use crate::error::Malformed;
use crate::pack::varint;

/// How the bytes of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// With those of other columns, to be compressed.
    Here,
    /// Behind what is compressed: compression would gain nothing.
    Aside,
    /// As differences of big-endian numbers, the first byte of each, then the second of each, and so on;
    /// of these planes so many of the last stand aside.
    Differences { aside: usize },
    /// Aside, without the bits that are the same in all values: which these are, and what.
    Bits { fixed: u128, first: u128 },
}

impl Layout {
    fn number(self) -> u64 {
        match self {
            Self::Here => 0,
            Self::Aside => 1,
            Self::Differences { .. } => 2,
            Self::Bits { .. } => 3,
        }
    }
}

/// Values to be written as a column.
#[derive(Debug, Default)]
pub(super) struct Column {
    lens: Vec<u8>,
    pub(super) bytes: Vec<u8>,
    /// The length of all values so far, while it is one.
    common: Option<usize>,
    pub(super) count: usize,
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

    /// The length of all values, where differences of them can be written.
    #[cfg(any(feature = "deflate", test))]
    pub(super) fn number_len(&self) -> Option<usize> {
        self.common.filter(|len| (1..=NUMBER_BYTES_MAX).contains(len))
    }

    /// The layout without the bits that are the same in all values, where there are some, and no more
    /// than others.
    #[cfg(any(feature = "deflate", test))]
    pub(super) fn without_fixed_bits(&self) -> Option<Layout> {
        let len = self.number_len()?;
        let first = number_of(self.bytes.get(..len)?);
        let mut free = 0;
        for value in self.bytes.chunks_exact(len) {
            free |= number_of(value) ^ first;
        }
        let fixed = !free & mask_of(len);
        let is_worth_it = (1..=4 * len as u32).contains(&fixed.count_ones());
        is_worth_it.then_some(Layout::Bits { fixed, first: first & fixed })
    }

    /// Writes all but the bytes.
    pub(super) fn write_head(&self, layout: Layout, out: &mut Vec<u8>) {
        let common = self.common.map_or(0, |len| len as u64 + 1);
        varint::write(out, common << 2 | layout.number());
        if self.common.is_none() {
            out.extend_from_slice(&self.lens);
        }
        match layout {
            Layout::Here | Layout::Aside => {}
            Layout::Differences { aside } => varint::write(out, aside as u64),
            Layout::Bits { fixed, first } => {
                let len = self.common.unwrap_or(1);
                for number in [fixed, first] {
                    out.extend_from_slice(&number.to_be_bytes()[NUMBER_BYTES_MAX - len..]);
                }
            }
        }
    }

    /// The bytes as they stand: to be compressed, and aside.
    pub(super) fn laid_out(&self, layout: Layout) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
        let len = self.common.unwrap_or(1);
        match layout {
            Layout::Here => ((&self.bytes[..]).into(), Cow::default()),
            Layout::Aside => (Cow::default(), (&self.bytes[..]).into()),
            Layout::Differences { aside } => {
                let mut here = differences(&self.bytes, len);
                let aside = here.split_off((len - aside) * self.count);
                (here.into(), aside.into())
            }
            Layout::Bits { fixed, .. } => {
                (Cow::default(), free_bits(&self.bytes, len, fixed).into())
            }
        }
    }
}

/// The differences of numbers of `len` bytes: the first byte of each, then the second of each, and so on.
pub(super) fn differences(bytes: &[u8], len: usize) -> Vec<u8> {
    let count = bytes.len() / len;
    let mut out = vec![0; count * len];
    let mut before = 0;
    for (at, value) in bytes.chunks_exact(len).enumerate() {
        let number = number_of(value);
        let difference = number.wrapping_sub(before).to_be_bytes();
        before = number;
        for (plane, byte) in difference[NUMBER_BYTES_MAX - len..].iter().enumerate() {
            out[plane * count + at] = *byte;
        }
    }
    out
}

/// The numbers of which these are the [`differences`], cut in two.
fn sums(here: &[u8], aside: &[u8], len: usize, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * len);
    let planes = here.chunks_exact(count).chain(aside.chunks_exact(count));
    let planes: SmallVec<[&[u8]; NUMBER_BYTES_MAX]> = planes.collect();
    let (high, low) = planes.split_at(planes.len().saturating_sub(8));
    let mut number = 0u128;
    for at in 0..count {
        let half = |planes: &[&[u8]]| {
            planes.iter().fold(0, |half, plane| half << 8 | u64::from(plane[at]))
        };
        number = number.wrapping_add(u128::from(half(high)) << 64 | u128::from(half(low)));
        push_number(&mut out, number, len);
    }
    out
}

/// The bits that are not fixed, those of one value behind those of the other, the highest first; zeros
/// fill the last byte.
fn free_bits(bytes: &[u8], len: usize, fixed: u128) -> Vec<u8> {
    let parts = parts_of(!fixed & mask_of(len));
    let mut out = Vec::with_capacity(bytes.len() + 8);
    // What is not written yet: fewer than 8 bits, and what is above them has gone.
    let (mut held, mut held_count) = (0u64, 0);
    for value in bytes.chunks_exact(len) {
        let number = number_of(value);
        for (shift, width) in &parts {
            let part = (number >> shift) as u64 & (u64::MAX >> (64 - width));
            (held, held_count) = (held << width | part, held_count + width);
            let whole = held_count / 8;
            out.extend_from_slice(&(held << (64 - held_count)).to_be_bytes()[..whole as usize]);
            held_count %= 8;
        }
    }
    if held_count > 0 {
        out.push((held << (8 - held_count)) as u8);
    }
    out
}

/// The values whose [`free_bits`] these are.
fn values_of(bytes: &[u8], len: usize, fixed: u128, first: u128, count: usize) -> Vec<u8> {
    let parts = parts_of(!fixed & mask_of(len));
    let mut out = Vec::with_capacity(count * len);
    // Zeros behind them, so that eight bytes can be read at the end too.
    let bytes = [bytes, &[0; 8]].concat();
    let mut at = 0;
    for _ in 0..count {
        let mut halves = [0; 2];
        for (shift, width) in &parts {
            let eight = bytes.get(at / 8..).and_then(<[u8]>::first_chunk).copied();
            let word = u64::from_be_bytes(eight.unwrap_or_default()) << (at % 8);
            halves[(shift / 64 % 2) as usize] |= word >> (64 - width) << (shift % 64);
            at += *width as usize;
        }
        let free = u128::from(halves[1]) << 64 | u128::from(halves[0]);
        push_number(&mut out, first & fixed | free, len);
    }
    out
}

#[inline]
fn push_number(out: &mut Vec<u8>, number: u128, len: usize) {
    let bytes = number.to_be_bytes();
    // Mostly it is a UUID.
    match len {
        NUMBER_BYTES_MAX => out.extend_from_slice(&bytes),
        _ => out.extend_from_slice(&bytes[NUMBER_BYTES_MAX - len..]),
    }
}

/// The runs of set bits from the highest on, in parts of up to 56 bits, which fit behind 7 others, and none
/// beyond the middle: how far to the left each stands, and how long it is.
fn parts_of(mut mask: u128) -> SmallVec<[(u32, u32); 4]> {
    let mut parts = SmallVec::new();
    while mask != 0 {
        let end = 128 - mask.leading_zeros();
        let half = if end > 64 { end - 64 } else { end };
        let width = (mask << (128 - end)).leading_ones().min(56).min(half);
        parts.push((end - width, width));
        mask &= !(u128::MAX >> (128 - width) << (end - width));
    }
    parts
}

/// All bits of a number of so many bytes.
fn mask_of(len: usize) -> u128 {
    u128::MAX >> (128 - 8 * len)
}

fn number_of(value: &[u8]) -> u128 {
    if let Ok(all) = value.try_into() {
        return u128::from_be_bytes(all);
    }
    value.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// What stands before the bytes of columns.
#[derive(Debug)]
pub(super) struct Head<'a> {
    lens: &'a [u8],
    common: Option<usize>,
    layout: Layout,
    count: usize,
    /// How many bytes stand with those of other columns, and how many aside.
    len: usize,
    aside: usize,
}

impl<'a> Head<'a> {
    /// Takes the head of a column of `count` values off the front, after a look at its lengths.
    pub(super) fn take(rest: &mut &'a [u8], count: usize) -> Result<Self, Malformed> {
        let head = varint::read(rest)?;
        let (mut lens, mut sum) = (*rest, 0u64);
        let common = match (head >> 2).checked_sub(1) {
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
        let sum = usize::try_from(sum).map_err(|_| SHORT)?;
        let number_len = common.filter(|len| (1..=NUMBER_BYTES_MAX).contains(len));
        let (layout, len, aside) = match (head & 3, number_len) {
            (0, _) => (Layout::Here, sum, 0),
            (1, _) => (Layout::Aside, 0, sum),
            (2, Some(len)) => {
                let planes = varint::read(rest)?;
                let planes = usize::try_from(planes).ok().filter(|planes| *planes <= len);
                let aside = planes.ok_or(BROKEN)?;
                (Layout::Differences { aside }, (len - aside) * count, aside * count)
            }
            (3, Some(len)) => Self::take_fixed(rest, len, count)?,
            _ => return Err(BROKEN),
        };
        Ok(Self { lens, common, layout, count, len, aside })
    }

    fn take_fixed(
        rest: &mut &[u8],
        len: usize,
        count: usize,
    ) -> Result<(Layout, usize, usize), Malformed> {
        let (numbers, behind) = rest.split_at_checked(2 * len).ok_or(SHORT)?;
        *rest = behind;
        let (mask, first) = numbers.split_at(len);
        let (fixed, first) = (number_of(mask), number_of(first));
        let free = 8 * len - fixed.count_ones() as usize;
        // So no more than twice as much comes out as is there.
        if free < 4 * len {
            return Err(BROKEN);
        }
        let aside = count.checked_mul(free).ok_or(SHORT)?.div_ceil(8);
        Ok((Layout::Bits { fixed, first }, 0, aside))
    }

    /// Takes the bytes off the front, and off what stands aside.
    pub(super) fn values(
        self,
        rest: &mut &'a [u8],
        aside: &mut &'a [u8],
    ) -> Result<Values<'a>, Malformed> {
        let Self { lens, common, layout, count, .. } = self;
        let (here, behind) = rest.split_at_checked(self.len).ok_or(SHORT)?;
        *rest = behind;
        let (beside, behind) = aside.split_at_checked(self.aside).ok_or(SHORT)?;
        *aside = behind;
        let len = common.unwrap_or(1);
        let bytes = match layout {
            Layout::Here => here.into(),
            Layout::Aside => beside.into(),
            // Without a value there is no plane to cut.
            Layout::Differences { .. } if count == 0 => Cow::default(),
            Layout::Differences { .. } => sums(here, beside, len, count).into(),
            Layout::Bits { fixed, first } => values_of(beside, len, fixed, first, count).into(),
        };
        Ok(Values { lens, common, bytes, at: 0 })
    }
}

/// A column as it is read, value by value.
#[derive(Debug, Clone, Default)]
pub(super) struct Values<'a> {
    lens: &'a [u8],
    common: Option<usize>,
    bytes: Cow<'a, [u8]>,
    at: usize,
}

impl Values<'_> {
    /// Takes the next value. There are as many as were asked for; what is behind them has no bytes.
    #[inline]
    pub(super) fn take(&mut self) -> &[u8] {
        let len = match self.common {
            Some(len) => len,
            None => varint::read(&mut self.lens).unwrap_or(0) as usize,
        };
        let start = self.at;
        self.at += len;
        self.bytes.get(start..self.at).unwrap_or_default()
    }
}

const BROKEN: Malformed = Malformed::Encoding { detail: "a column is not laid out as it says" };

pub(super) const SHORT: Malformed = Malformed::Encoding { detail: "a snapshot ends too early" };

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(values: &[Vec<u8>], layout: Layout) -> (Vec<u8>, Vec<u8>) {
        let mut column = Column::default();
        values.iter().for_each(|value| column.push(value));
        let mut bytes = Vec::new();
        column.write_head(layout, &mut bytes);
        let (here, aside) = column.laid_out(layout);
        bytes.extend_from_slice(&here);
        (bytes, aside.into_owned())
    }

    fn read<'a>(
        mut rest: &'a [u8],
        mut aside: &'a [u8],
        count: usize,
    ) -> Result<Values<'a>, Malformed> {
        let values = Head::take(&mut rest, count)?.values(&mut rest, &mut aside)?;
        assert!(rest.is_empty() && aside.is_empty());
        Ok(values)
    }

    fn are(mut read: Values<'_>, values: &[Vec<u8>]) -> bool {
        values.iter().all(|value| read.take() == value)
    }

    proptest! {
        #[test]
        fn columns_keep_their_values(
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..4), 0..9),
            cut in any::<proptest::sample::Index>(),
            is_aside: bool,
        ) {
            let layout = if is_aside { Layout::Aside } else { Layout::Here };
            let (bytes, aside) = written(&values, layout);
            prop_assert!(are(read(&bytes, &aside, values.len()).unwrap(), &values));
            let short = &bytes[..cut.index(bytes.len())];
            if let Ok(read) = Head::take(&mut &*short, values.len())
                .and_then(|head| head.values(&mut &short[short.len()..], &mut &aside[..]))
            {
                // A column of no bytes may end where the cut is.
                prop_assert!(are(read, &values));
            }
        }

        #[test]
        fn numbers_of_every_length_keep_their_values(
            len in 1..=NUMBER_BYTES_MAX,
            numbers in proptest::collection::vec(any::<u128>(), 1..9),
            fixed in proptest::collection::vec(0u32..128, 1..20),
        ) {
            let fixed = fixed.iter().fold(0u128, |mask, bit| mask | 1 << bit);
            let last = |number: u128| number.to_be_bytes()[16 - len..].to_vec();
            let values: Vec<_> =
                numbers.iter().map(|number| last(number & !fixed | numbers[0] & fixed)).collect();
            let mut layouts: Vec<_> =
                (0..=len).map(|aside| Layout::Differences { aside }).collect();
            let mut column = Column::default();
            values.iter().for_each(|value| column.push(value));
            if let Some(layout @ Layout::Bits { fixed: found, .. }) = column.without_fixed_bits() {
                prop_assert_eq!(found & fixed & mask_of(len), fixed & mask_of(len));
                layouts.push(layout);
            }
            for layout in layouts {
                let (bytes, aside) = written(&values, layout);
                prop_assert!(are(read(&bytes, &aside, values.len()).unwrap(), &values));
            }
        }
    }

    #[test]
    fn a_uuid_leaves_its_version_and_variant_out() {
        let uuid = |seed: u128| {
            let random = xxhash_rust::xxh3::xxh3_128(&seed.to_be_bytes());
            random & !(0xf << 76 | 3 << 62) | 4 << 76 | 2 << 62
        };
        let values: Vec<_> = (1..=64).map(|seed| uuid(seed).to_be_bytes().to_vec()).collect();
        let mut column = Column::default();
        values.iter().for_each(|value| column.push(value));
        let (bytes, aside) = written(&values, column.without_fixed_bits().unwrap());
        assert_eq!((bytes.len(), aside.len()), (33, 64 * 122 / 8));
    }

    #[test]
    fn numbers_that_are_too_long_or_of_no_one_length_are_refused() {
        for (layout, common) in [(2, 0), (2, 1), (2, 18), (3, 0), (3, 1), (3, 18)] {
            let mut head = [0; 60];
            head[0] = layout | common << 2;
            assert!(Head::take(&mut &head[..], 1).is_err(), "{layout} {common}");
        }
        // Three planes of two are aside.
        assert!(Head::take(&mut &[2 | 3 << 2, 3][..], 1).is_err());
        assert!(Head::take(&mut &[2 | 3 << 2, 2][..], 1).is_ok());
        // Nine of sixteen bits are fixed, then eight.
        let mut head = [3 | 3 << 2, 0xff, 0x80, 0, 0];
        assert!(Head::take(&mut &head[..], 1).is_err());
        head[2] = 0;
        assert!(Head::take(&mut &head[..], 1).is_ok());
    }
}
