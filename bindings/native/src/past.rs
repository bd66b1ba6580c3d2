//! The past: checkpoints, what differs from them, and taking back what somebody did.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;
use std::ptr;

use serde_json::json;
use sync_client::PastDocument;

use crate::code::Code;
use crate::documents::{Desk, Document, limited, not_there, page, read, record, record_id};
use crate::failure::guard;
use crate::handles::{self, Thing};
use crate::json;
use crate::pointers::{Out, OutText, optional_text, text};
use crate::shapes;

/// A handle: a document as it was at a checkpoint, in memory.
#[derive(Debug)]
pub struct Past {
    _nothing: [u8; 0],
}

/// A document as it was.
struct Held(PastDocument);

impl Thing for Held {
    type Face = Past;
    const NAME: &'static str = "a document of the past";
}

/// Keeps the document as it stands under a label of at most 256 bytes, and from here on a tape of what
/// happens to it. Blocks until that is on disk; nothing else of the client is read or written meanwhile, and
/// the time grows with the document, which may have 1 GiB. What is too old or too much goes, the oldest
/// first: see `sync_builder_keep_checkpoints`.
///
/// `number` gets what names the checkpoint, for ever.
///
/// Errors: `MISUSE` (the label or the document is too large, too), `CLOSED`, `STORE`, `READ`, `DAMAGED`,
/// `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_checkpoint(
    document: *mut Document,
    label: *const c_char,
    number: *mut u64,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, label) = unsafe { (Out::new("number", number, 0)?, text("label", label)?) };
        out.put(handles::find::<Desk>(document)?.document.checkpoint(label)?.number);
        Ok(())
    })
}

/// Lists the checkpoints that are kept, the oldest first: the first `limit`, from 1 to `SYNC_LIST_MAX`.
///
/// `json` gets a text to be given back: `{"checkpoints": [{"number": number, "label": text, "at_ms":
/// milliseconds since 1970 by this device's clock of then, "bytes": its size in the file, "whole": whether
/// the tape has everything since}, …], "more": number of those behind}`.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_checkpoints(
    document: *mut Document,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        limited("checkpoints", limit, &document.checkpoints()?, shapes::checkpoint)
    })
}

/// Lets a checkpoint go, and what of the tape no other one needs. Blocks until that is on disk.
///
/// Errors: `CLOSED`, `NOT_FOUND`, `STORE`, `READ`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_checkpoint_drop(document: *mut Document, number: u64) -> Code {
    guard(|| {
        let is_gone = handles::find::<Desk>(document)?.document.drop_checkpoint(number)?;
        if is_gone { Ok(()) } else { Err(not_there(format!("there is no checkpoint {number}"))) }
    })
}

/// Lets all checkpoints go, and the tape. Blocks until that is on disk.
///
/// Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_checkpoints_purge(document: *mut Document) -> Code {
    guard(|| Ok(handles::find::<Desk>(document)?.document.purge_checkpoints()?))
}

/// Reads the document as it was at a checkpoint into memory.
///
/// The handle that `past` gets is the caller's, to be closed by `sync_past_close`, or with its client.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_past_open(
    document: *mut Document,
    number: u64,
    past: *mut *mut Past,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { Out::new("past", past, ptr::null_mut()) }?;
        let desk = handles::find::<Desk>(document)?;
        let held = Held(desk.document.past(number)?);
        out.put(handles::give(desk.client(), held)?);
        Ok(())
    })
}

/// Closes a document of the past.
///
/// Errors: `CLOSED`, also the second time.
#[unsafe(no_mangle)]
pub extern "C" fn sync_past_close(past: *mut Past) -> Code {
    guard(|| handles::close::<Held>(past).map(drop))
}

/// Reads a record as it was; in the form of `sync_get`.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_past_get(
    past: *mut Past,
    collection: *const c_char,
    id: *const c_char,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, collection, id) = unsafe {
            (OutText::text("json", json)?, text("collection", collection)?, text("id", id)?)
        };
        let past = handles::find::<Held>(past)?;
        let id = record_id(id)?;
        let Ok(found) = past.0.record(collection, &id);
        let found = found.ok_or_else(|| {
            not_there(format!("no record {id} was in collection {collection} at that checkpoint"))
        })?;
        out.give(record(&id, &found).to_string())
    })
}

/// Reads records of a collection as they were, in the order of their ids; as `sync_list`.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_past_list(
    past: *mut Past,
    collection: *const c_char,
    after: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, collection, after) = unsafe {
            let out = OutText::text("json", json)?;
            (out, text("collection", collection)?, optional_text("after", after)?)
        };
        let past = handles::find::<Held>(past)?;
        let listed = page(after, limit, |after| {
            let Ok(page) = past.0.page(collection, after, limit);
            Ok(page)
        });
        out.give(listed?.to_string())
    })
}

/// Lists what is not as it was at a checkpoint: the first `limit` places, from 1 to `SYNC_LIST_MAX`, in the
/// order of their kinds and names. The document of then is in memory meanwhile.
///
/// `json` gets a text to be given back: `{"differences": [{"place": as in `sync_next_event`, "old": fields
/// then, or null where it was not there, "new": fields now, or null}, …], "more": number of those behind}`.
/// Sets and values have one field, without a name.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_diff(
    document: *mut Document,
    number: u64,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        limited("differences", limit, &document.diff(number)?, shapes::difference)
    })
}

/// Restores a checkpoint in memory, replays there what the tape has since then, and compares the snapshots of
/// that and of the document as it is, byte for byte. The document stays as it is.
///
/// `json` gets a text to be given back: `{"changes": how many were replayed, "bytes": how many the snapshots
/// have}`.
///
/// Errors: `MISUSE` (the document is too large), `CLOSED`, `NOT_FOUND`, `GONE` (the tape no longer has all
/// since then), `READ`, `DAMAGED` (also where they are not the same).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_rewind(
    document: *mut Document,
    number: u64,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        let rewound = document.rewind(number)?;
        Ok(json!({ "changes": rewound.changes, "bytes": rewound.bytes }))
    })
}

/// Takes back changes that the tape has, whoever made them: what they wrote and is still there goes, and what
/// they replaced comes again where nobody else has written anything since. That is an ordinary change, or
/// several where one would be too large, and is never part of a batch.
///
/// `which` is a JSON object with any of these keys, all of which must hold: `"since"`: the number of a
/// checkpoint; `"author"`: who wrote; `"device"`: one replica of a device, whose others count too;
/// `"from_ms"`, `"until_ms"`: when it was made or arrived here, in milliseconds since 1970 by this device's
/// clock, the second one excluded.
///
/// `json` gets a text to be given back: `{"changes": numbers of the changes, as `change` gets them,
/// "unclear": the first `SYNC_LIST_MAX` places where it is not known who took something, which stays away
/// there, as in `sync_next_event`, "more": number of those behind}`.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND` (no such checkpoint, or none at all), `GONE` (the tape no
/// longer has all since then), `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_revert(
    document: *mut Document,
    which: *const c_char,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, which) = unsafe { (OutText::text("json", json)?, text("which", which)?) };
        let desk = handles::find::<Desk>(document)?;
        let reverted = desk.document.revert(&json::which(which)?)?;
        let mut receipts = desk.receipts();
        let changes = reverted.written.into_iter().map(|written| receipts.keep(written));
        let changes: Vec<_> = changes.collect();
        drop(receipts);
        out.give(shapes::reverted(&changes, &reverted.unclear).to_string())
    })
}
