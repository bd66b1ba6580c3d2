//! MessagePack, written by hand: what is stored and sent is read and written without a framework
//! between, so that a module for browsers stays small.
//!
//! Writing takes the shortest form that a number or a length has, so equal values are equal bytes.
//! [`Reader`] takes any form, refuses any other type than the one asked for, and allocates nothing.

mod read;
pub mod varint;
mod write;

pub use read::{Kind, Reader};
pub use write::{array, bool, bytes, float, int, map, nil, str, uint};

use rmp::Marker;

/// The first byte of every form that is not all in that byte.
pub(crate) mod marker {
    use super::Marker;

    pub(crate) const NIL: u8 = Marker::Null.to_u8();
    pub(crate) const FALSE: u8 = Marker::False.to_u8();
    pub(crate) const TRUE: u8 = Marker::True.to_u8();
    pub(crate) const BIN_8: u8 = Marker::Bin8.to_u8();
    pub(crate) const BIN_16: u8 = Marker::Bin16.to_u8();
    pub(crate) const BIN_32: u8 = Marker::Bin32.to_u8();
    pub(crate) const F_32: u8 = Marker::F32.to_u8();
    pub(crate) const F_64: u8 = Marker::F64.to_u8();
    pub(crate) const U_8: u8 = Marker::U8.to_u8();
    pub(crate) const U_16: u8 = Marker::U16.to_u8();
    pub(crate) const U_32: u8 = Marker::U32.to_u8();
    pub(crate) const U_64: u8 = Marker::U64.to_u8();
    pub(crate) const I_8: u8 = Marker::I8.to_u8();
    pub(crate) const I_16: u8 = Marker::I16.to_u8();
    pub(crate) const I_32: u8 = Marker::I32.to_u8();
    pub(crate) const I_64: u8 = Marker::I64.to_u8();
    pub(crate) const STR_8: u8 = Marker::Str8.to_u8();
    pub(crate) const STR_16: u8 = Marker::Str16.to_u8();
    pub(crate) const STR_32: u8 = Marker::Str32.to_u8();
    pub(crate) const ARRAY_16: u8 = Marker::Array16.to_u8();
    pub(crate) const ARRAY_32: u8 = Marker::Array32.to_u8();
    pub(crate) const MAP_16: u8 = Marker::Map16.to_u8();
    pub(crate) const MAP_32: u8 = Marker::Map32.to_u8();

    /// The first of those that hold a small number or length in themselves.
    pub(crate) const FIX_MAP: u8 = Marker::FixMap(0).to_u8();
    pub(crate) const FIX_ARRAY: u8 = Marker::FixArray(0).to_u8();
    pub(crate) const FIX_STR: u8 = Marker::FixStr(0).to_u8();
    pub(crate) const FIX_NEG: u8 = Marker::FixNeg(-32).to_u8();
}
