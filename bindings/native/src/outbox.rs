//! The outbox: what waits for the hub, and what to do about it.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;
use std::ptr;

use serde_json::json;
use sync_client::ItemKey;

use crate::clients::{Client, Opened};
use crate::code::Code;
use crate::documents::check_limit;
use crate::failure::{Failure, guard};
use crate::handles;
use crate::pointers::{Out, OutText, optional_text, text};
use crate::shapes;

fn key(text: &str) -> Result<ItemKey, Failure> {
    text.parse().map_err(|error| Failure::misuse(format!("{error}")))
}

/// Lists what the hub has not acknowledged, of all documents, in the order in which it is sent: up to
/// `limit` items behind the one with the key `after`, or from the start where that is null. `limit` is 1 to
/// `SYNC_LIST_MAX`.
///
/// `json` gets a text to be given back: `{"items": […], "next": key or null}`. Where `next` is a key, there
/// may be more: ask again with it as `after`. An item is one change, or several that followed each other:
/// `{"key": text, "document": name, "state": "pending", "in-flight", "waiting" for another item that is
/// parked, or "parked", "reason": text or null, "bytes": its size as it is sent, "changes": number,
/// "since_ms": milliseconds since 1970 by the clock of then, or null, "places": the first 16 records, sets
/// and values that it is about, as in `sync_next_event`, "place_count": how many there are}`.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (the document of `after`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_outbox(
    client: *mut Client,
    after: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, after) =
            unsafe { (OutText::text("json", json)?, optional_text("after", after)?) };
        let after = after.map(key).transpose()?;
        check_limit(limit)?;
        let page = handles::find::<Opened>(client)?.0.outbox_page(after.as_ref(), limit)?;
        let items: Vec<_> = page.items.iter().map(shapes::waiting).collect();
        let next = page.next.map(|key| key.to_string());
        out.give(json!({ "items": items, "next": next }).to_string())
    })
}

/// Sets an item aside that is not on its way to the hub, for a reason of the application's. What depends on
/// it waits with it.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `BUSY` (it is on its way), `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_outbox_park(
    client: *mut Client,
    item: *const c_char,
    reason: *const c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (item, reason) = unsafe { (text("item", item)?, text("reason", reason)?) };
        Ok(handles::find::<Opened>(client)?.0.park_item(&key(item)?, reason)?)
    })
}

/// Lets a parked item be sent again as it is, with what waits for it; or all that are parked, where `item`
/// is null. `count`, if it is not null, gets how many that are.
///
/// Errors: `MISUSE` (also where it is not parked), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_outbox_retry(
    client: *mut Client,
    item: *const c_char,
    count: *mut usize,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, item) = unsafe { (Out::optional(count, 0), optional_text("item", item)?) };
        let opened = handles::find::<Opened>(client)?;
        let count = match item {
            Some(item) => opened.0.retry_item(&key(item)?).map(|()| 1)?,
            None => opened.0.retry_all()?,
        };
        if let Some(out) = out {
            out.put(count);
        }
        Ok(())
    })
}

/// Writes again what a parked item wrote and is still there, as a change of now. Nobody ever has both.
///
/// Errors: `MISUSE` (also where it is not parked), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_outbox_rewrite(client: *mut Client, item: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let item = unsafe { text("item", item) }?;
        Ok(handles::find::<Opened>(client)?.0.rewrite_item(&key(item)?)?)
    })
}

/// Gives a parked item up: what it wrote is taken back here, and reaches nobody. What it overwrote or
/// removed comes back from the hub, if that has it.
///
/// `json` gets a text to be given back: the item, in the form of `sync_outbox`. It may be null.
///
/// Errors: `MISUSE` (also where it is not parked, or another item depends on it), `CLOSED`, `NOT_FOUND`,
/// `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_outbox_drop(
    client: *mut Client,
    item: *const c_char,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, item) =
            unsafe { (OutText::optional(json, ptr::null_mut()), text("item", item)?) };
        let dropped = handles::find::<Opened>(client)?.0.drop_item(&key(item)?)?;
        match out {
            Some(out) => out.give(shapes::waiting(&dropped.item).to_string()),
            None => Ok(()),
        }
    })
}
