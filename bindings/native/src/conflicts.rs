//! Conflicts: what clashes, what clashed, and what to do about it.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;

use sync_client::ReplicaId;

use crate::changes::write_record;
use crate::code::Code;
use crate::documents::{Document, limited, read};
use crate::failure::Failure;
use crate::pointers::text;
use crate::shapes;
use crate::writes::Write;

/// Lists what clashes at present in a collection, by record: the first `limit` records, from 1 to
/// `SYNC_LIST_MAX`.
///
/// `json` gets a text to be given back: `{"clashes": […], "more": number of those behind}`. A clash is
/// `{"id": text, "fields": {…}, or null where only an edit is left of the record, "conflicts": […],
/// "versions": [{"author": text, "at_ms": number, "fields": {…}}, …]}`. Times are milliseconds since 1970
/// by the author's clock. A conflict is one of
/// `{"kind": "field", "field": path, "values": [{"author": text, "at_ms": number, "value": value}, …]}`,
/// which `sync_keep` resolves,
/// `{"kind": "edit-kept", "editor": text, "remover": text or null}`, which `sync_adopt` or `sync_remove`
/// resolves, and
/// `{"kind": "partial", "editors": [text, …]}`, which `sync_restore` or `sync_dismiss` resolves.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_conflicts(
    document: *mut Document,
    collection: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        // SAFETY: what the header asks for.
        let collection = unsafe { text("collection", collection) }?;
        let clashes = document.collection(collection).conflicts()?;
        limited("clashes", limit, &clashes, shapes::clash)
    })
}

/// Lists what clashed so far in the document, also what was resolved since: the first `limit` entries,
/// from 1 to `SYNC_LIST_MAX`. The log has at most 1,000 entries; the oldest go first.
///
/// `json` gets a text to be given back: `{"entries": […], "more": number of those behind}`. An entry is
/// `{"collection": name, "id": text, "field": path, or null for an edit against a delete, "sides":
/// [{"author": text, "at_ms": number or null, "deleted": whether this side deleted the record, "value":
/// value or null}, …], "seen_ms": number, "open": whether it still clashes}`.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_conflict_log(
    document: *mut Document,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        limited("entries", limit, &document.conflict_log()?, shapes::logged)
    })
}

/// Resolves the clashing fields of a record by writing again what one author wrote, as `sync_conflicts`
/// names it.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (no such record, or nothing of this author clashes), `STORE`,
/// `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_keep(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    author: *const c_char,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        write_record(document, collection, id, change, |collection, id| {
            let author = text("author", author)?;
            let author: ReplicaId = author.parse().map_err(|_| {
                Failure::misuse(format!("{author:?} is no author; give one that a version names"))
            })?;
            Ok((Write::Keep { collection, id, author }, 0))
        })
    }
}

/// Settles a record that was edited here and deleted there: it stays.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_adopt(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    change: *mut u64,
) -> Code {
    let adopt = |collection, id| Ok((Write::Adopt { collection, id }, 0));
    // SAFETY: what the header asks for.
    unsafe { write_record(document, collection, id, change, adopt) }
}

/// Makes a record again of what an edit left of one that was deleted.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_restore(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    change: *mut u64,
) -> Code {
    let restore = |collection, id| Ok((Write::Restore { collection, id }, 0));
    // SAFETY: what the header asks for.
    unsafe { write_record(document, collection, id, change, restore) }
}

/// Removes what an edit left of a record that was deleted.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_dismiss(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    change: *mut u64,
) -> Code {
    let dismiss = |collection, id| Ok((Write::Dismiss { collection, id }, 0));
    // SAFETY: what the header asks for.
    unsafe { write_record(document, collection, id, change, dismiss) }
}
