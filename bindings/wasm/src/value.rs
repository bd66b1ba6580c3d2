//! Values and fields, from JavaScript and to it.
//!
//! A number that is a safe integer is an `Int`, any other a `Float`; an `Int` beyond the safe integers
//! is read as a `bigint`. A plain value is a register and a `Set` a set; the package marks the other kinds
//! of fields with a symbol.

use js_sys::{Array, BigInt, Object, Reflect, Set, Symbol, Uint8Array};

use sync_core::types::{BTreeMap, Field, Record, RecordId, VALUE_DEPTH_MAX, Value};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::failure::{bad_argument, bad_value};
use crate::object::{entries, js_bytes, put, whole};

/// The largest integer that a JavaScript number counts to.
const SAFE_MAX: i64 = (1 << 53) - 1;

/// A fresh record id: a UUID of version 7 from the time and ten random bytes.
#[wasm_bindgen]
pub fn record_id(unix_ms: f64, random: &[u8]) -> Result<String, JsValue> {
    let random = random.try_into().map_err(|_| bad_argument("random"))?;
    Ok(RecordId::from_time(whole(unix_ms), random).text())
}

/// Reads the fields of a change. What is `undefined` was not given.
pub(crate) fn fields_from_js(js: &JsValue) -> Result<BTreeMap<String, Field>, JsValue> {
    let fields = nested_from_js(js, VALUE_DEPTH_MAX)?;
    if fields.contains_key("id") {
        return Err(bad_value("a field cannot be called id: that is the record's own"));
    }
    Ok(fields)
}

fn nested_from_js(js: &JsValue, depth_left: usize) -> Result<BTreeMap<String, Field>, JsValue> {
    if !js.is_object() {
        return Err(bad_value("the fields are not an object"));
    }
    let mut fields = Vec::new();
    for (name, field) in given(js)? {
        fields.push((name, field_from_js(&field, depth_left)?));
    }
    Ok(fields.into_iter().collect())
}

fn field_from_js(js: &JsValue, depth_left: usize) -> Result<Field, JsValue> {
    if let Some(set) = js.dyn_ref::<Set>() {
        let members = list_from_js(&Array::from(set), VALUE_DEPTH_MAX)?;
        return Ok(Field::Set(members.into_iter().collect()));
    }
    let Some((kind, content)) = marked(js) else {
        return Ok(Field::Register(value_from_js(js, VALUE_DEPTH_MAX)?));
    };
    match kind.as_str() {
        "latest" => Ok(Field::Latest(value_from_js(&content, VALUE_DEPTH_MAX)?)),
        "counter" => Ok(Field::Counter(amount_from_js(&content)?)),
        _ => {
            let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
            Ok(Field::Map(nested_from_js(&content, depth_left)?))
        }
    }
}

/// The kind and the content of a field that the package has marked.
fn marked(js: &JsValue) -> Option<(String, JsValue)> {
    if !js.is_object() {
        return None;
    }
    let mark = Reflect::get(js, &Symbol::for_("sync-sdk.field")).ok()?;
    let mark: Array = mark.dyn_into().ok()?;
    Some((mark.get(0).as_string()?, mark.get(1)))
}

/// Reads by how much a counter changes.
pub(crate) fn amount_from_js(js: &JsValue) -> Result<i64, JsValue> {
    let amount = value_from_js(js, 0).ok().and_then(|value| value.as_int());
    amount.ok_or_else(|| bad_value("a counter counts in whole numbers"))
}

fn too_deep() -> JsValue {
    bad_value("a value nests too deep, or within itself")
}

/// Reads a value that may nest `depth_left` times.
fn value_from_js(js: &JsValue, depth_left: usize) -> Result<Value, JsValue> {
    if js.is_null() {
        return Ok(Value::Null);
    }
    if let Some(truth) = js.as_bool() {
        return Ok(Value::Bool(truth));
    }
    if let Some(number) = js.as_f64() {
        return Ok(number_from_js(number));
    }
    if let Some(text) = js.as_string() {
        return Ok(Value::String(text));
    }
    if js.is_bigint() {
        let number = i64::try_from(js.clone());
        return number.map(Value::Int).map_err(|_| bad_value("a bigint is beyond 64 bits signed"));
    }
    if let Some(bytes) = js.dyn_ref::<Uint8Array>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if Array::is_array(js) {
        let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
        return Ok(Value::List(list_from_js(js.unchecked_ref(), depth_left)?));
    }
    if is_plain(js) {
        let depth_left = depth_left.checked_sub(1).ok_or_else(too_deep)?;
        let mut items = Vec::new();
        for (key, item) in given(js)? {
            items.push((key, value_from_js(&item, depth_left)?));
        }
        return Ok(Value::Map(items.into_iter().collect()));
    }
    Err(bad_value(
        "a value is null, a boolean, a number, a bigint, text, a Uint8Array, an array or a plain \
         object; a Set stands only for a whole field",
    ))
}

/// Reads values that may nest `depth_left` times each.
fn list_from_js(js: &Array, depth_left: usize) -> Result<Vec<Value>, JsValue> {
    let mut values = Vec::new();
    for value in js.iter() {
        values.push(value_from_js(&value, depth_left)?);
    }
    Ok(values)
}

/// The properties of an object but for those that are `undefined`.
fn given(js: &JsValue) -> Result<Vec<(String, JsValue)>, JsValue> {
    let mut given = entries(js)?;
    given.retain(|(_, value)| !value.is_undefined());
    Ok(given)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "within 2^53")]
fn number_from_js(number: f64) -> Value {
    let is_negative_zero = number == 0.0 && number.is_sign_negative();
    if number.fract() == 0.0 && number.abs() <= SAFE_MAX as f64 && !is_negative_zero {
        Value::Int(number as i64)
    } else {
        Value::Float(number)
    }
}

/// Whether it is an object of no class, from any window.
fn is_plain(js: &JsValue) -> bool {
    if !js.is_object() {
        return false;
    }
    let parent: JsValue = Object::get_prototype_of(js).into();
    parent.is_null() || JsValue::from(Object::get_prototype_of(&parent)).is_null()
}

/// A record as JavaScript reads it: its fields and its id.
pub(crate) fn record_to_js(id: &RecordId, record: &Record) -> JsValue {
    let object = fields_to_js(&record.fields());
    put(&object, "id", &id.text().into());
    object.into()
}

/// Fields by name.
pub(crate) fn fields_to_js(fields: &BTreeMap<String, Field>) -> Object {
    let object = Object::new();
    for (name, field) in fields {
        put(&object, name, &field_to_js(field));
    }
    object
}

fn field_to_js(field: &Field) -> JsValue {
    match field {
        Field::Register(value) | Field::Latest(value) => value_to_js(value),
        Field::Set(members) => {
            let set = Set::new(&JsValue::UNDEFINED);
            for member in members {
                set.add(&value_to_js(member));
            }
            set.into()
        }
        Field::Counter(count) => value_to_js(&Value::Int(*count)),
        Field::Map(fields) => fields_to_js(fields).into(),
    }
}

fn values_to_js(values: &BTreeMap<String, Value>) -> JsValue {
    let object = Object::new();
    for (name, value) in values {
        put(&object, name, &value_to_js(value));
    }
    object.into()
}

/// A value as JavaScript reads it.
#[allow(clippy::cast_precision_loss, reason = "within 2^53")]
pub(crate) fn value_to_js(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) if number.abs_diff(0) <= SAFE_MAX.unsigned_abs() => {
            JsValue::from_f64(*number as f64)
        }
        Value::Int(number) => BigInt::from(*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.into(),
        Value::Bytes(bytes) => js_bytes(bytes),
        Value::List(items) => items.iter().map(value_to_js).collect::<Array>().into(),
        Value::Map(items) => values_to_js(items),
    }
}
