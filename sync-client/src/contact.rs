//! When the hub was last heard, and when all that it had was here.

use std::collections::BTreeMap;

/// Moments, in milliseconds since 1970 by this device's clock. They are kept on disk, so they are known
/// after a restart too: what is there is never later than what was, but may be a few minutes earlier
/// where the program was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contact {
    /// When something of the hub was last received while the document was open there, in milliseconds since
    /// 1970.
    pub heard_ms: Option<u64>,
    /// When all that the hub had of the document was last known to be here, in milliseconds since 1970.
    pub current_ms: Option<u64>,
}

/// The contacts of all open documents.
pub(crate) type Contacts = BTreeMap<String, Contact>;
