//! The one place where this crate reads a clock and draws random numbers: for ids of records.

use std::time::{SystemTime, UNIX_EPOCH};

use sync_client::RecordId;

use crate::code::Code;
use crate::failure::Failure;

/// A fresh record id: a UUID of version 7, so that ids order by time.
pub(crate) fn fresh_id() -> Result<RecordId, Failure> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|_| {
        Failure::new(Code::System, "the operating system gives no random numbers; try again later")
    })?;
    Ok(RecordId::from_time(unix_ms(), random))
}

#[allow(clippy::disallowed_methods, reason = "the clock function of this driver")]
fn unix_ms() -> u64 {
    // A clock before 1970 reads as 1970: ids need it for their order only.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
