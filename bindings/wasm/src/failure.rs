//! Errors as JavaScript sees them: an `Error` named `Misuse` with a `code`.

use js_sys::{Error, Reflect};
use sync_core::error::{Malformed, Misuse};
use wasm_bindgen::JsValue;

/// What a caller did wrong, as a JavaScript error.
pub(crate) fn misuse(misuse: Misuse) -> JsValue {
    let code = match &misuse {
        Misuse::NoSuchRecord { .. } => "no-such-record",
        Misuse::RecordExists { .. } => "record-exists",
        Misuse::NoSuchVersion { .. } => "no-such-version",
        Misuse::TooLarge { .. } => "too-large",
        Misuse::BadName { .. } => "bad-name",
        Misuse::Empty => "empty",
        Misuse::NotOpen { .. } => "not-open",
        Misuse::Twice { .. } => "written-twice",
        _ => "misuse",
    };
    error(code, &misuse.text())
}

/// Bytes that are not what they should be, as a JavaScript error.
pub(crate) fn malformed(malformed: &Malformed) -> JsValue {
    error("malformed", &malformed.text())
}

/// A value that no field can hold.
pub(crate) fn bad_value(message: &str) -> JsValue {
    error("bad-value", message)
}

/// Something else that the JavaScript side handed over and that is not what it should be.
pub(crate) fn bad_argument(what: &str) -> JsValue {
    error("bad-argument", what)
}

fn error(code: &str, message: &str) -> JsValue {
    let error = Error::new(message);
    error.set_name("Misuse");
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}
