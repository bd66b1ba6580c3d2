//! Results: the text of an error, and giving texts back.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::{CStr, c_char};

use crate::failure;
use crate::pointers::take_back;

/// Says what was wrong with the last call on this thread that failed, and what to do: one line of UTF-8,
/// empty where none has failed. Never null.
///
/// The text belongs to the library. It stays until the next call on this thread that fails, or until the
/// thread ends.
#[unsafe(no_mangle)]
pub extern "C" fn sync_error_message() -> *const c_char {
    failure::last()
}

/// Gives back a text that this library gave. Null does nothing. To give one back twice, or one from
/// elsewhere, is a fault, as with `free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_string_free(text: *mut c_char) {
    // SAFETY: what the header asks for.
    unsafe { take_back(text) }
}

/// The version of this library, such as `0.1.0`. The text belongs to the library and stays for ever.
#[unsafe(no_mangle)]
pub extern "C" fn sync_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}
