//! Receipts: whether a change is on this disk, and on the hub's.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::time::Duration;

use sync_client::Written;

use crate::code::Code;
use crate::documents::{Desk, Document};
use crate::failure::{Failure, guard};
use crate::handles;
use crate::pointers::Out;

fn receipt(document: *const Document, change: u64) -> Result<Written, Failure> {
    handles::find::<Desk>(document)?.receipts().get(change)
}

/// Blocks until a change of this handle is on this disk. `change` is its number, or 0 for the last one.
///
/// Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_wait_disk(document: *mut Document, change: u64) -> Code {
    guard(|| Ok(receipt(document, change)?.wait_disk()?))
}

/// Blocks until a change of this handle is on the hub's disk, at most so many milliseconds. `change` is
/// its number, or 0 for the last one.
///
/// Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`, `TIMED_OUT`, `PARKED`,
/// `STORE`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_wait_hub(document: *mut Document, change: u64, timeout_ms: u64) -> Code {
    guard(|| Ok(receipt(document, change)?.wait_hub(Duration::from_millis(timeout_ms))?))
}

/// Says whether a change of this handle is on this disk, and on the hub's disk. `change` is its number, or
/// 0 for the last one; `on_disk` and `on_hub` may be null.
///
/// Errors: `MISUSE` (no such number, or one that is too long ago), `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_is_safe(
    document: *mut Document,
    change: u64,
    on_disk: *mut bool,
    on_hub: *mut bool,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (on_disk, on_hub) =
            unsafe { (Out::optional(on_disk, false), Out::optional(on_hub, false)) };
        let written = receipt(document, change)?;
        if let Some(on_disk) = on_disk {
            on_disk.put(written.is_on_disk());
        }
        if let Some(on_hub) = on_hub {
            on_hub.put(written.is_on_hub());
        }
        Ok(())
    })
}
