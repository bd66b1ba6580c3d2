//! Reading: a cursor over bytes that takes one item after the other.

use super::marker;
use crate::error::Malformed;

/// What the next item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Nil,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A floating-point number.
    Float,
    /// Text.
    Str,
    /// Bytes.
    Bytes,
    /// An array.
    Array,
    /// A map.
    Map,
}

/// Reads items, one after the other, and lends text and bytes from where they stand.
///
/// After an error it stands anywhere within the bytes. A length is never more than what is left could
/// hold, so a caller may make room for it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

#[cold]
fn broken(detail: &'static str) -> Malformed {
    Malformed::Encoding { detail }
}

#[cold]
fn short() -> Malformed {
    broken("it ends too early")
}

impl<'a> Reader<'a> {
    /// Reads these bytes from their start.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn rest_len(&self) -> usize {
        self.rest.len()
    }

    /// Checks that nothing is left.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(broken("something follows its end")) }
    }

    /// What the next item is. It stays the next one.
    #[inline]
    pub fn kind(&self) -> Result<Kind, Malformed> {
        let Some(marker) = self.rest.first() else { return Err(short()) };
        Ok(match *marker {
            0..marker::FIX_MAP | marker::FIX_NEG.. | marker::U_8..=marker::I_64 => Kind::Int,
            marker::FIX_STR..marker::NIL | marker::STR_8..=marker::STR_32 => Kind::Str,
            marker::FIX_ARRAY..marker::FIX_STR | marker::ARRAY_16 | marker::ARRAY_32 => Kind::Array,
            marker::FIX_MAP..marker::FIX_ARRAY | marker::MAP_16 | marker::MAP_32 => Kind::Map,
            marker::NIL => Kind::Nil,
            marker::FALSE | marker::TRUE => Kind::Bool,
            marker::BIN_8..=marker::BIN_32 => Kind::Bytes,
            marker::F_32 | marker::F_64 => Kind::Float,
            _ => return Err(broken("a type that is not used")),
        })
    }

    /// Takes the next item if it is nil, and says whether it was.
    #[inline]
    pub fn take_nil(&mut self) -> bool {
        if let [marker::NIL, rest @ ..] = self.rest {
            self.rest = rest;
            return true;
        }
        false
    }

    /// Takes a nil.
    pub fn nil(&mut self) -> Result<(), Malformed> {
        if self.take_nil() { Ok(()) } else { Err(broken("nil is expected")) }
    }

    /// Takes true or false.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            marker::FALSE => Ok(false),
            marker::TRUE => Ok(true),
            _ => Err(broken("true or false is expected")),
        }
    }

    /// Takes a whole number that is not negative.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, Malformed> {
        if let [small @ 0..marker::FIX_MAP, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*small));
        }
        self.wide_uint()
    }

    /// Takes a whole number that is not negative and not larger than its type.
    #[inline]
    pub fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, Malformed> {
        T::try_from(self.uint()?).map_err(|_| broken("a number is too large"))
    }

    /// Takes a whole number.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Malformed> {
        if let [small @ 0..marker::FIX_MAP, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(i64::from(*small));
        }
        self.wide_int()
    }

    #[inline(never)]
    fn wide_uint(&mut self) -> Result<u64, Malformed> {
        match self.number()? {
            (bits, false) => Ok(bits),
            (_, true) => Err(broken("a number is negative")),
        }
    }

    #[inline(never)]
    fn wide_int(&mut self) -> Result<i64, Malformed> {
        let (bits, is_negative) = self.number()?;
        let number = bits.cast_signed();
        if (number < 0) == is_negative { Ok(number) } else { Err(broken("a number is too large")) }
    }

    /// The 64 bits of a whole number, and whether it is negative.
    fn number(&mut self) -> Result<(u64, bool), Malformed> {
        let signed = match self.byte()? {
            marker::U_8 => return Ok((u64::from(self.byte()?), false)),
            marker::U_16 => return Ok((u64::from(u16::from_be_bytes(self.take()?)), false)),
            marker::U_32 => return Ok((u64::from(u32::from_be_bytes(self.take()?)), false)),
            marker::U_64 => return Ok((u64::from_be_bytes(self.take()?), false)),
            marker::I_8 => i64::from(self.byte()?.cast_signed()),
            marker::I_16 => i64::from(i16::from_be_bytes(self.take()?)),
            marker::I_32 => i64::from(i32::from_be_bytes(self.take()?)),
            marker::I_64 => i64::from_be_bytes(self.take()?),
            small @ (0..marker::FIX_MAP | marker::FIX_NEG..) => i64::from(small.cast_signed()),
            _ => return Err(broken("a whole number is expected")),
        };
        Ok((signed.cast_unsigned(), signed < 0))
    }

    /// Takes a floating-point number.
    pub fn float(&mut self) -> Result<f64, Malformed> {
        match self.byte()? {
            marker::F_64 => Ok(f64::from_be_bytes(self.take()?)),
            marker::F_32 => Ok(f64::from(f32::from_be_bytes(self.take()?))),
            _ => Err(broken("a floating-point number is expected")),
        }
    }

    /// Takes text.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let len = match self.byte()? {
            small @ marker::FIX_STR..marker::NIL => usize::from(small - marker::FIX_STR),
            marker::STR_8 => usize::from(self.byte()?),
            marker::STR_16 => self.len_16()?,
            marker::STR_32 => self.len_32()?,
            _ => return Err(broken("text is expected")),
        };
        std::str::from_utf8(self.slice(len)?).map_err(|_| broken("text is not UTF-8"))
    }

    /// Takes bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = match self.byte()? {
            marker::BIN_8 => usize::from(self.byte()?),
            marker::BIN_16 => self.len_16()?,
            marker::BIN_32 => self.len_32()?,
            _ => return Err(broken("bytes are expected")),
        };
        self.slice(len)
    }

    /// Takes bytes of one length.
    pub fn bytes_of<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.bytes()?.try_into().map_err(|_| broken("bytes are of the wrong length"))
    }

    /// Takes the start of an array, and gives the number of its items, which follow.
    #[inline]
    pub fn array(&mut self) -> Result<usize, Malformed> {
        self.list(1)
    }

    /// Takes the start of an array whose items take no less than `item_bytes` each.
    #[inline]
    pub fn list(&mut self, item_bytes: usize) -> Result<usize, Malformed> {
        let len = match self.byte()? {
            small @ marker::FIX_ARRAY..marker::FIX_STR => usize::from(small - marker::FIX_ARRAY),
            marker::ARRAY_16 => self.len_16()?,
            marker::ARRAY_32 => self.len_32()?,
            _ => return Err(broken("an array is expected")),
        };
        self.count(len, item_bytes)
    }

    /// Takes the start of an array of so many items.
    #[inline]
    pub fn exactly(&mut self, len: usize) -> Result<(), Malformed> {
        if self.array()? == len { Ok(()) } else { Err(broken("an array is of the wrong length")) }
    }

    /// Takes the start of an array of no less than so many items. Gives the number of those beyond,
    /// which a later version put at the end: they are for [`skip_all`](Self::skip_all).
    pub fn at_least(&mut self, len: usize) -> Result<usize, Malformed> {
        self.array()?.checked_sub(len).ok_or_else(|| broken("an array is too short"))
    }

    /// Takes the start of a map, and gives the number of its items, which follow, each a key and a
    /// value.
    pub fn map(&mut self) -> Result<usize, Malformed> {
        let len = match self.byte()? {
            small @ marker::FIX_MAP..marker::FIX_ARRAY => usize::from(small - marker::FIX_MAP),
            marker::MAP_16 => self.len_16()?,
            marker::MAP_32 => self.len_32()?,
            _ => return Err(broken("a map is expected")),
        };
        self.count(len, 2)
    }

    /// Takes nil, or what `read` takes.
    #[inline]
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.take_nil() { Ok(None) } else { read(self).map(Some) }
    }

    /// Passes over one item and all that is in it.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.skip_all(1)
    }

    /// Passes over items and all that is in them, however deep: it counts, and does not call itself.
    pub fn skip_all(&mut self, count: usize) -> Result<(), Malformed> {
        let mut left = count;
        while left > 0 {
            left = self.count(left, 1)? - 1;
            match self.kind()? {
                Kind::Nil | Kind::Bool => self.byte().map(|_| ())?,
                Kind::Int => self.number().map(|_| ())?,
                Kind::Float => self.float().map(|_| ())?,
                Kind::Str => self.str().map(|_| ())?,
                Kind::Bytes => self.bytes().map(|_| ())?,
                // Neither count is more than the bytes that are left.
                Kind::Array => left += self.array()?,
                Kind::Map => left += 2 * self.map()?,
            }
        }
        Ok(())
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Malformed> {
        let Some((byte, rest)) = self.rest.split_first() else { return Err(short()) };
        self.rest = rest;
        Ok(*byte)
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else { return Err(short()) };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let Some((bytes, rest)) = self.rest.split_at_checked(len) else { return Err(short()) };
        self.rest = rest;
        Ok(bytes)
    }

    fn len_16(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(u16::from_be_bytes(self.take()?)))
    }

    fn len_32(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| short())
    }

    /// Checks that so many items fit into what is left.
    #[inline]
    fn count(&self, count: usize, item_bytes: usize) -> Result<usize, Malformed> {
        let fits = count.saturating_mul(item_bytes) <= self.rest.len();
        if fits { Ok(count) } else { Err(short()) }
    }
}
