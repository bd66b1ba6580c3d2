//! What comes in and goes out by pointers.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};

use crate::failure::Failure;

/// The most bytes of a text that is given to the library. A change has far less, in whatever way its
/// JSON is written.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads a text that must be there.
///
/// # Safety
///
/// The pointer is null, or to bytes that stay as they are for `'a`, with a zero among them.
pub(crate) unsafe fn text<'a>(what: &str, pointer: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    let text = unsafe { optional_text(what, pointer) }?;
    text.ok_or_else(|| Failure::misuse(format!("{what} is null; give a text")))
}

/// Reads a text; none where the pointer is null.
///
/// # Safety
///
/// As for [`text`].
pub(crate) unsafe fn optional_text<'a>(
    what: &str,
    pointer: *const c_char,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    let pointer = pointer.cast::<u8>();
    // SAFETY: the caller's promise: every byte up to the zero may be read.
    let Some(len) = (0..=TEXT_BYTES_MAX).find(|at| unsafe { *pointer.add(*at) } == 0) else {
        let limit = TEXT_BYTES_MAX;
        return Err(Failure::misuse(format!("{what} is longer than {limit} bytes; shorten it")));
    };
    // SAFETY: the same bytes, which stay as they are.
    let bytes = unsafe { std::slice::from_raw_parts(pointer, len) };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Failure::misuse(format!("{what} is not UTF-8 ({error}); encode it so")))?;
    Ok(Some(text))
}

/// Copies bytes.
///
/// # Safety
///
/// The pointer is null, or to as many bytes as `len` says.
pub(crate) unsafe fn bytes(what: &str, pointer: *const u8, len: usize) -> Result<Vec<u8>, Failure> {
    if len > TEXT_BYTES_MAX {
        let limit = TEXT_BYTES_MAX;
        return Err(Failure::misuse(format!("{what} are more than {limit} bytes; give fewer")));
    }
    if len == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() {
        return Err(Failure::misuse(format!("{what} are null; give {len} bytes")));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) }.to_vec())
}

/// Where a result goes.
#[derive(Debug)]
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// A place that must be there. It holds `empty` until a result is put there.
    ///
    /// # Safety
    ///
    /// The pointer is null, or to a place for a `T` that nobody else uses before this is dropped.
    pub(crate) unsafe fn new(what: &str, pointer: *mut T, empty: T) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        let out = unsafe { Self::optional(pointer, empty) };
        out.ok_or_else(|| Failure::misuse(format!("{what} is null; say where the result goes")))
    }

    /// A place; none where the pointer is null.
    ///
    /// # Safety
    ///
    /// As for [`Self::new`].
    pub(crate) unsafe fn optional(pointer: *mut T, empty: T) -> Option<Self> {
        let place = NonNull::new(pointer)?;
        // SAFETY: the caller's promise. What was there need not be a value.
        unsafe { place.as_ptr().write(empty) };
        Some(Self(place))
    }

    pub(crate) fn put(self, value: T) {
        // SAFETY: whoever made this promised so.
        unsafe { self.0.as_ptr().write(value) };
    }
}

/// Where a text goes.
pub(crate) type OutText = Out<*mut c_char>;

impl OutText {
    /// A place for a text.
    ///
    /// # Safety
    ///
    /// As for [`Self::new`].
    pub(crate) unsafe fn text(what: &str, pointer: *mut *mut c_char) -> Result<Self, Failure> {
        // SAFETY: the caller's promise.
        unsafe { Self::new(what, pointer, ptr::null_mut()) }
    }

    /// Gives a text away, for `sync_string_free`.
    pub(crate) fn give(self, text: String) -> Result<(), Failure> {
        let text = CString::new(text)
            .map_err(|_| Failure::misuse("the result holds a zero byte, which no text in C may"))?;
        self.put(text.into_raw());
        Ok(())
    }
}

/// Takes back a text that was given away.
///
/// # Safety
///
/// The pointer is null, or was given away, and was not taken back.
pub(crate) unsafe fn take_back(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: it is of `CString::into_raw`, as the caller promises.
        drop(unsafe { CString::from_raw(text) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_text_is_limited() {
        for beyond in [-1isize, 0, 1] {
            let len = TEXT_BYTES_MAX.checked_add_signed(beyond).unwrap();
            let given = CString::new("x".repeat(len)).unwrap();
            // SAFETY: the text lives on.
            let read = unsafe { text("a text", given.as_ptr()) };
            assert_eq!(read.is_ok_and(|read| read.len() == len), beyond <= 0, "{beyond}");
            let given = vec![0; len];
            // SAFETY: as many bytes as it says.
            let read = unsafe { bytes("some bytes", given.as_ptr(), len) };
            assert_eq!(read.is_ok(), beyond <= 0, "{beyond}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_refused() {
        // SAFETY: null may be given, and what is given lives on.
        unsafe {
            assert!(text("a text", ptr::null()).is_err());
            assert_eq!(optional_text("a text", ptr::null()).unwrap(), None);
            assert!(text("a text", c"\xff".as_ptr()).is_err());
            assert_eq!(text("a text", c"Gr\xc3\xbc\xc3\x9fe".as_ptr()).unwrap(), "Grüße");
            assert!(bytes("some bytes", ptr::null(), 1).is_err());
            assert!(bytes("some bytes", ptr::null(), 0).unwrap().is_empty());
            assert!(Out::new("the result", ptr::null_mut(), 0).is_err());
            let mut place = 7;
            let out = Out::new("the result", &raw mut place, 0).unwrap();
            assert_eq!(place, 0);
            out.put(9);
            assert_eq!(place, 9);
            let mut place = ptr::null_mut();
            let out = OutText::text("the result", &raw mut place).unwrap();
            assert!(out.give("a\0b".to_owned()).is_err());
            assert!(place.is_null());
            take_back(place);
        }
    }
}
