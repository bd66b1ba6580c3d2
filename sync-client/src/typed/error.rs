//! Why serde's values have no form.

use std::fmt;

/// Why a value has no form, and in which field.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) field: Option<String>,
    pub(super) reason: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { field: None, reason: reason.to_string() }
    }
}

impl Error {
    pub(super) fn within(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }
}
