//! The change feed, where `sync_builder_keep_feed` asked for one.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;
use std::time::Duration;

use sync_client::{DocumentHandle, FeedCursor, FeedError, FeedPage};

use crate::code::Code;
use crate::documents::{Desk, Document, check_limit, read};
use crate::failure::guard;
use crate::handles;
use crate::json;
use crate::pointers::{Out, optional_text};
use crate::shapes;

/// Gives a cursor.
///
/// # Safety
///
/// `cursor` is null or a place for a number.
unsafe fn cursor(
    document: *const Document,
    cursor: *mut u64,
    find: impl FnOnce(&DocumentHandle) -> Result<FeedCursor, FeedError>,
) -> Code {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new("cursor", cursor, 0) }?;
        out.put(find(&handles::find::<Desk>(document)?.document)?.to_u64());
        Ok(())
    })
}

/// Gives the oldest place from which the feed can be followed.
///
/// Errors: `MISUSE` (no feed is kept, too), `CLOSED`, `READ`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_feed_begin(document: *mut Document, cursor: *mut u64) -> Code {
    // SAFETY: what the header asks for.
    unsafe { self::cursor(document, cursor, DocumentHandle::feed_begin) }
}

/// Gives the end of the feed: from here on nothing is missed of what comes. Whoever reads the state after
/// asking for this, and follows from here, has everything.
///
/// Errors: `MISUSE` (no feed is kept, too), `CLOSED`, `READ`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_feed_end(document: *mut Document, cursor: *mut u64) -> Code {
    // SAFETY: what the header asks for.
    unsafe { self::cursor(document, cursor, DocumentHandle::feed_end) }
}

/// Reads a page of the feed.
///
/// # Safety
///
/// `collections` is null or a text, and `json` is null or a place for one.
unsafe fn page(
    document: *const Document,
    collections: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
    find: impl FnOnce(&DocumentHandle, &[&str]) -> Result<FeedPage, FeedError>,
) -> Code {
    read(document, json, |document| {
        // SAFETY: the caller's promise.
        let collections = unsafe { optional_text("collections", collections) }?;
        let collections = collections.map(|text| json::path("collections", text)).transpose()?;
        let collections = collections.unwrap_or_default();
        check_limit(limit)?;
        let collections: Vec<_> = collections.iter().map(String::as_str).collect();
        Ok(shapes::feed(&find(document, &collections)?))
    })
}

/// Reads what changed behind the cursor `after`: fields that changed here or elsewhere, in the order in which
/// they did, up to `limit` of them, from 1 to `SYNC_LIST_MAX`. Only what is on disk is told, and all of it at
/// least once: keep `next` together with what was made of the entries. `collections` is a JSON list of names,
/// or null for everything.
///
/// `json` gets a text to be given back: `{"entries": […], "next": the cursor to go on with, "has_more":
/// whether there may be more at once}`. A page may be empty though there is more. An entry is
/// `{"cursor": where the feed is behind it, "change": text that names the change, which may have several
/// entries, "place": as in `sync_next_event`, "path": names of nested maps, then of the field; empty where a
/// record came or went, and of sets and values, "old": what the field held, "new": what it holds, "author":
/// text, or null where it is not known, "at_ms": when it was changed or arrived here, in milliseconds since
/// 1970 by this device's clock}`. There is no `"old"` where the field was not there, and no `"new"` where it
/// is not any more.
///
/// Errors: `MISUSE` (no feed is kept, too), `JSON`, `CLOSED`, `GONE` (what comes behind the cursor is no
/// longer kept: take the end, read the state anew, and go on there), `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_feed(
    document: *mut Document,
    after: u64,
    collections: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        page(document, collections, limit, json, |document, collections| {
            document.feed(FeedCursor::from_u64(after), collections, limit)
        })
    }
}

/// As `sync_feed`, and blocks until there is something that is wanted, at most so many milliseconds: a page
/// without entries says that the time is over.
///
/// Errors: `MISUSE` (no feed is kept, too), `JSON`, `CLOSED`, `GONE`, `STORE`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_wait_feed(
    document: *mut Document,
    after: u64,
    collections: *const c_char,
    limit: usize,
    timeout_ms: u64,
    json: *mut *mut c_char,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        page(document, collections, limit, json, |document, collections| {
            let timeout = Duration::from_millis(timeout_ms);
            document.wait_feed(FeedCursor::from_u64(after), collections, limit, timeout)
        })
    }
}

/// Forgets the feed. Whoever follows it hears `GONE`. Blocks until that is on disk.
///
/// Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_feed_purge(document: *mut Document) -> Code {
    guard(|| Ok(handles::find::<Desk>(document)?.document.purge_feed()?))
}
