//! A record's fields as serde reads them.

use std::collections::BTreeMap;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, Deserializer, EnumAccess, Error as _, IntoDeserializer, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use sync_core::types::{Field, Value};

/// Reads a value from the fields of a record.
pub(super) fn read<T: DeserializeOwned>(fields: BTreeMap<String, Field>) -> Result<T, Error> {
    T::deserialize(Read::of(Field::Map(fields)))
}

/// A value that serde reads.
struct Read(Value);

impl Read {
    fn of(field: Field) -> Self {
        Self(match field {
            Field::Register(value) | Field::Latest(value) => value,
            Field::Set(members) => Value::List(members.into_iter().collect()),
            Field::Counter(count) => Value::Int(count),
            Field::Map(fields) => {
                let fields = fields.into_iter().map(|(name, field)| (name, Self::of(field).0));
                Value::Map(fields.collect())
            }
        })
    }
}

impl IntoDeserializer<'_> for Read {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Read {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Int(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::String(text) => visitor.visit_string(text),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            Value::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Read));
                let value = visitor.visit_seq(&mut items)?;
                items.end()?;
                Ok(value)
            }
            Value::Map(items) => {
                let items = items.into_iter().map(|(key, item)| (key, Read(item)));
                let mut items = MapDeserializer::new(items);
                let value = visitor.visit_map(&mut items)?;
                items.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if matches!(self.0, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = match self.0 {
            Value::String(name) => Variant { name, holds: None },
            Value::Map(items) if items.len() == 1 => {
                let Some((name, holds)) = items.into_iter().next() else {
                    return Err(Error::custom("an enum is not there"));
                };
                Variant { name, holds: Some(holds) }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_) => {
                return Err(Error::custom("an enum is a name, or a map of a name"));
            }
        };
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant of an enum, and what it holds.
struct Variant {
    name: String,
    holds: Option<Value>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: serde::de::DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, Self), Error> {
        let name: StringDeserializer<Error> = std::mem::take(&mut self.name).into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant {
    fn holds(self) -> Result<Read, Error> {
        self.holds
            .map(Read)
            .ok_or_else(|| Error::custom("a variant holds something, and it is not there"))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.holds {
            None => Ok(()),
            Some(_) => Err(Error::custom("a variant holds nothing, and there is something")),
        }
    }

    fn newtype_variant_seed<S: serde::de::DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<S::Value, Error> {
        seed.deserialize(self.holds()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.holds()?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.holds()?.deserialize_any(visitor)
    }
}
