//! What serde writes, as a record's fields.

use std::collections::BTreeMap;

use serde::ser::{Error as _, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

use sync_core::types::{Field, Value};

use super::error::Error;
use super::value::{ItemsWriter, MapWriter, ValueWriter, named, pieces};
use super::{COUNT, MEMBERS, TypedError};

/// Fields by name; none where a field is not there.
pub(super) type Fields = BTreeMap<String, Option<Field>>;

/// Writes a value as the fields of a record.
pub(super) fn write<T: Serialize>(value: &T) -> Result<Fields, TypedError> {
    value.serialize(RecordWriter).map_err(|Error { field, reason }| {
        let field = field.unwrap_or_else(|| std::any::type_name::<T>().to_owned());
        TypedError::NoForm { field, reason }
    })
}

fn no_record<T>(what: &str) -> Result<T, Error> {
    Err(Error::custom(format!("{what} is no record; a struct or a map is one")))
}

/// Writes a record.
struct RecordWriter;

/// Fields as they come.
#[derive(Default)]
struct FieldsWriter {
    fields: Fields,
    key: Option<String>,
}

impl FieldsWriter {
    fn put<T: ?Sized + Serialize>(&mut self, name: String, value: &T) -> Result<(), Error> {
        let field = value.serialize(FieldWriter).map_err(|error| error.within(&name))?;
        self.fields.insert(name, field);
        Ok(())
    }
}

impl SerializeStruct for FieldsWriter {
    type Ok = Fields;
    type Error = Error;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.put(name.to_owned(), value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), Error> {
        self.fields.insert(name.to_owned(), None);
        Ok(())
    }

    fn end(self) -> Result<Fields, Error> {
        Ok(self.fields)
    }
}

impl SerializeMap for FieldsWriter {
    type Ok = Fields;
    type Error = Error;

    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        self.key = Some(text(key)?);
        Ok(())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value comes behind its key"))?;
        self.put(key, value)
    }

    fn end(self) -> Result<Fields, Error> {
        Ok(self.fields)
    }
}

/// What keys of maps are.
pub(super) fn text<T: ?Sized + Serialize>(key: &T) -> Result<String, Error> {
    let Value::String(text) = key.serialize(ValueWriter)? else {
        return Err(Error::custom("a key of a map is text"));
    };
    Ok(text)
}

macro_rules! refuse {
    ($($method:ident: $type:ty, $what:literal;)*) => {
        $(fn $method(self, _: $type) -> Result<Self::Ok, Error> {
            no_record($what)
        })*
    };
}

impl Serializer for RecordWriter {
    type Ok = Fields;
    type Error = Error;
    type SerializeSeq = Impossible<Fields, Error>;
    type SerializeTuple = Impossible<Fields, Error>;
    type SerializeTupleStruct = Impossible<Fields, Error>;
    type SerializeTupleVariant = Impossible<Fields, Error>;
    type SerializeMap = FieldsWriter;
    type SerializeStruct = FieldsWriter;
    type SerializeStructVariant = Impossible<Fields, Error>;

    refuse! {
        serialize_bool: bool, "a truth value";
        serialize_i8: i8, "a number";
        serialize_i16: i16, "a number";
        serialize_i32: i32, "a number";
        serialize_i64: i64, "a number";
        serialize_u8: u8, "a number";
        serialize_u16: u16, "a number";
        serialize_u32: u32, "a number";
        serialize_u64: u64, "a number";
        serialize_f32: f32, "a number";
        serialize_f64: f64, "a number";
        serialize_char: char, "a character";
        serialize_str: &str, "text";
        serialize_bytes: &[u8], "bytes";
        serialize_unit_struct: &'static str, "a struct without fields";
    }

    fn serialize_none(self) -> Result<Fields, Error> {
        no_record("none")
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Fields, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Fields, Error> {
        no_record("a unit")
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<Fields, Error> {
        no_record("an enum")
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Fields, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Fields, Error> {
        no_record("an enum")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        no_record("a list")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        no_record("a tuple")
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        no_record("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        no_record("an enum")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<FieldsWriter, Error> {
        Ok(FieldsWriter::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<FieldsWriter, Error> {
        Ok(FieldsWriter::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        no_record("an enum")
    }
}

/// Writes a field; none where it is not there.
struct FieldWriter;

/// What a field holds that is written piece by piece.
pub(super) struct Register<W>(pub(super) W);

pub(super) fn register(value: Value) -> Result<Option<Field>, Error> {
    Ok(Some(Field::Register(value)))
}

macro_rules! as_register {
    ($($method:ident: $type:ty;)*) => {
        $(fn $method(self, value: $type) -> Result<Self::Ok, Error> {
            register(ValueWriter.$method(value)?)
        })*
    };
}

impl Serializer for FieldWriter {
    type Ok = Option<Field>;
    type Error = Error;

    pieces!(Register<ItemsWriter>, Register<MapWriter>, Register);

    as_register! {
        serialize_bool: bool;
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_f32: f32;
        serialize_f64: f64;
        serialize_char: char;
        serialize_str: &str;
        serialize_bytes: &[u8];
    }

    fn serialize_none(self) -> Result<Option<Field>, Error> {
        Ok(None)
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Option<Field>, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Option<Field>, Error> {
        Ok(None)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Option<Field>, Error> {
        Ok(None)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Option<Field>, Error> {
        register(Value::String(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Option<Field>, Error> {
        match (name, value.serialize(ValueWriter)?) {
            (MEMBERS, Value::List(members)) => Ok(Some(Field::Set(members.into_iter().collect()))),
            (COUNT, Value::Int(count)) => Ok(Some(Field::Counter(count))),
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Option<Field>, Error> {
        register(named(variant, value.serialize(ValueWriter)?))
    }
}
