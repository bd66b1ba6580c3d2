//! Plain JavaScript objects, written and read by name.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::failure;

#[wasm_bindgen]
extern "C" {
    /// The own enumerable properties as pairs. A getter or a proxy may throw.
    #[wasm_bindgen(js_namespace = Object, js_name = entries, catch)]
    fn object_entries(object: &JsValue) -> Result<Array, JsValue>;
}

/// A plain object of these properties.
pub(crate) fn object(properties: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in properties {
        put(&object, name, value);
    }
    object.into()
}

/// Gives a plain object a property of its own, whatever it is called.
pub(crate) fn put(object: &Object, name: &str, value: &JsValue) {
    if name == "__proto__" {
        // Setting it would change the prototype instead.
        let property = self::object(&[
            ("value", value.clone()),
            ("enumerable", true.into()),
            ("configurable", true.into()),
            ("writable", true.into()),
        ]);
        Object::define_property(object, &name.into(), property.unchecked_ref());
    } else {
        // Setting a property of a plain object cannot fail.
        let _ = Reflect::set(object, &name.into(), value);
    }
}

/// A property, `undefined` where there is none.
pub(crate) fn get(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &name.into())
}

/// A property that is text.
pub(crate) fn get_text(object: &JsValue, name: &str) -> Result<String, JsValue> {
    get(object, name)?.as_string().ok_or_else(|| failure::bad_argument(name))
}

/// A property that is a whole number.
pub(crate) fn get_count(object: &JsValue, name: &str) -> Result<u64, JsValue> {
    get(object, name)?.as_f64().map(whole).ok_or_else(|| failure::bad_argument(name))
}

/// The properties as pairs of name and value.
pub(crate) fn entries(object: &JsValue) -> Result<Vec<(String, JsValue)>, JsValue> {
    let unreadable = |_| failure::bad_value("a value cannot be read: one of its properties throws");
    let pairs = object_entries(object).map_err(unreadable)?;
    let mut entries = Vec::with_capacity(pairs.length() as usize);
    for pair in pairs.iter() {
        let pair: Array = pair.unchecked_into();
        entries.push((pair.get(0).as_string().unwrap_or_default(), pair.get(1)));
    }
    Ok(entries)
}

/// The bytes of an `Uint8Array`.
pub(crate) fn bytes_of(js: &JsValue) -> Result<Vec<u8>, JsValue> {
    let bytes = js.dyn_ref::<Uint8Array>();
    bytes.map(Uint8Array::to_vec).ok_or_else(|| failure::bad_argument("bytes"))
}

/// A copy of bytes for JavaScript.
pub(crate) fn js_bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

/// A whole number that JavaScript counts with. Counters stay below 2^53.
#[allow(clippy::cast_precision_loss, reason = "counters stay below 2^53")]
pub(crate) fn number(count: u64) -> JsValue {
    JsValue::from_f64(count as f64)
}

/// Milliseconds and counts as JavaScript gives them; what is not a number is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}
