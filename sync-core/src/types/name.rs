//! Names that people give: of collections, sets, values and fields.

use crate::error::Misuse;

/// The most bytes of a name or a record id. Arbitrary.
pub const NAME_BYTES_MAX: usize = 128;

/// Refuses a name that is empty, too long, or holds control characters.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Misuse> {
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte);
    let is_bad = || !name.bytes().all(is_plain) && name.chars().any(char::is_control);
    if name.is_empty() || is_bad() {
        return Err(Misuse::BadName { what });
    }
    if name.len() > NAME_BYTES_MAX {
        let (found, limit) = (name.len() as u64, NAME_BYTES_MAX as u64);
        return Err(Misuse::TooLarge { what, found, limit });
    }
    Ok(())
}
