//! What serde writes, as a value: of a register, or of a member of a set.

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use sync_core::types::{Field, Value};

use super::error::Error;
use super::write::{Register, register, text};

pub(super) fn named(variant: &str, value: Value) -> Value {
    Value::Map([(variant.to_owned(), value)].into())
}

/// Writes a value.
pub(super) struct ValueWriter;

#[derive(Default)]
pub(super) struct ItemsWriter {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl ItemsWriter {
    /// What a variant of an enum holds.
    pub(super) fn of(variant: &'static str) -> Self {
        Self { variant: Some(variant), ..Self::default() }
    }

    fn put<T: ?Sized + Serialize>(&mut self, item: &T) -> Result<(), Error> {
        self.items.push(item.serialize(ValueWriter)?);
        Ok(())
    }

    fn value(self) -> Value {
        let items = Value::List(self.items);
        match self.variant {
            Some(variant) => named(variant, items),
            None => items,
        }
    }
}

#[derive(Default)]
pub(super) struct MapWriter {
    items: Vec<(String, Value)>,
    key: Option<String>,
    variant: Option<&'static str>,
}

impl MapWriter {
    /// What a variant of an enum holds.
    pub(super) fn of(variant: &'static str) -> Self {
        Self { variant: Some(variant), ..Self::default() }
    }

    fn put<T: ?Sized + Serialize>(&mut self, key: String, item: &T) -> Result<(), Error> {
        let item = item.serialize(ValueWriter)?;
        self.items.push((key, item));
        Ok(())
    }

    fn value(self) -> Value {
        let items = Value::Map(self.items.into_iter().collect());
        match self.variant {
            Some(variant) => named(variant, items),
            None => items,
        }
    }
}

/// The traits of what is written piece by piece, for a value and for a field.
macro_rules! compound {
    ($ok:ty, $items:ty, $map:ty, $it:ident => $inner:expr, $end:expr) => {
        compound!(@items SerializeSeq, serialize_element, $ok, $items, $it => $inner, $end);
        compound!(@items SerializeTuple, serialize_element, $ok, $items, $it => $inner, $end);
        compound!(@items SerializeTupleStruct, serialize_field, $ok, $items, $it => $inner, $end);
        compound!(@items SerializeTupleVariant, serialize_field, $ok, $items, $it => $inner, $end);
        compound!(@fields SerializeStruct, $ok, $map, $it => $inner, $end);
        compound!(@fields SerializeStructVariant, $ok, $map, $it => $inner, $end);

        impl SerializeMap for $map {
            type Ok = $ok;
            type Error = Error;

            fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
                let $it = self;
                $inner.key = Some(text(key)?);
                Ok(())
            }

            fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
                let $it = self;
                let key = $inner.key.take();
                $inner.put(key.ok_or_else(|| Error::custom("a value comes behind its key"))?, value)
            }

            fn end(self) -> Result<$ok, Error> {
                let $it = self;
                $end($inner.value())
            }
        }
    };
    (@items $trait:ident, $method:ident, $ok:ty, $items:ty, $it:ident => $inner:expr, $end:expr) => {
        impl $trait for $items {
            type Ok = $ok;
            type Error = Error;

            fn $method<T: ?Sized + Serialize>(&mut self, item: &T) -> Result<(), Error> {
                let $it = self;
                $inner.put(item)
            }

            fn end(self) -> Result<$ok, Error> {
                let $it = self;
                $end($inner.value())
            }
        }
    };
    (@fields $trait:ident, $ok:ty, $map:ty, $it:ident => $inner:expr, $end:expr) => {
        impl $trait for $map {
            type Ok = $ok;
            type Error = Error;

            fn serialize_field<T: ?Sized + Serialize>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                let $it = self;
                $inner.put(name.to_owned(), value)
            }

            fn end(self) -> Result<$ok, Error> {
                let $it = self;
                $end($inner.value())
            }
        }
    };
}

compound!(Value, ItemsWriter, MapWriter, it => it, Ok);
compound!(Option<Field>, Register<ItemsWriter>, Register<MapWriter>, it => it.0, register);

/// What begins to be written piece by piece, for a value and for a field.
macro_rules! pieces {
    ($items:ty, $map:ty, $begin:expr) => {
        type SerializeSeq = $items;
        type SerializeTuple = $items;
        type SerializeTupleStruct = $items;
        type SerializeTupleVariant = $items;
        type SerializeMap = $map;
        type SerializeStruct = $map;
        type SerializeStructVariant = $map;

        fn serialize_seq(self, _: Option<usize>) -> Result<$items, Error> {
            Ok($begin(ItemsWriter::default()))
        }

        fn serialize_tuple(self, _: usize) -> Result<$items, Error> {
            Ok($begin(ItemsWriter::default()))
        }

        fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<$items, Error> {
            Ok($begin(ItemsWriter::default()))
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            variant: &'static str,
            _: usize,
        ) -> Result<$items, Error> {
            Ok($begin(ItemsWriter::of(variant)))
        }

        fn serialize_map(self, _: Option<usize>) -> Result<$map, Error> {
            Ok($begin(MapWriter::default()))
        }

        fn serialize_struct(self, _: &'static str, _: usize) -> Result<$map, Error> {
            Ok($begin(MapWriter::default()))
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            variant: &'static str,
            _: usize,
        ) -> Result<$map, Error> {
            Ok($begin(MapWriter::of(variant)))
        }
    };
}

pub(super) use pieces;

fn whole<N: TryInto<i64>>(number: N) -> Result<Value, Error> {
    let number =
        number.try_into().map_err(|_| Error::custom("a whole number is beyond 64 bits signed"));
    Ok(Value::Int(number?))
}

macro_rules! whole {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method(self, number: $type) -> Result<Value, Error> {
            whole(number)
        })*
    };
}

impl Serializer for ValueWriter {
    type Ok = Value;
    type Error = Error;

    pieces!(ItemsWriter, MapWriter, std::convert::identity);

    whole! {
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_i128: i128;
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_u128: u128;
    }

    fn serialize_bool(self, truth: bool) -> Result<Value, Error> {
        Ok(Value::Bool(truth))
    }

    fn serialize_f32(self, number: f32) -> Result<Value, Error> {
        Ok(Value::Float(number.into()))
    }

    fn serialize_f64(self, number: f64) -> Result<Value, Error> {
        Ok(Value::Float(number))
    }

    fn serialize_char(self, character: char) -> Result<Value, Error> {
        Ok(Value::String(character.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, Error> {
        Ok(Value::String(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, Error> {
        Ok(Value::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        Ok(Value::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(named(variant, value.serialize(self)?))
    }
}
