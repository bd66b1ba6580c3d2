//! Changing: records, sets, values, and several changes as one.
//!
//! All functions end alike: the change is made at once, or goes into the batch of its handle.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;

use serde_json::Value as Json;
use sync_client::{Field, RecordId, Value};

use crate::clock::fresh_id;
use crate::code::Code;
use crate::documents::{Desk, Document, record_id};
use crate::failure::{Failure, guard};
use crate::handles;
use crate::json;
use crate::pointers::{Out, OutText, optional_text, text};
use crate::writes::{Batch, Write, make};

/// Makes a change, or puts it into the batch. `json` has the bytes that it was read from.
///
/// # Safety
///
/// `change` is null or a place for a number.
pub(crate) unsafe fn write(
    document: *const Document,
    change: *mut u64,
    write: impl FnOnce() -> Result<(Write, usize), Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let out = unsafe { Out::optional(change, 0) };
    let desk = handles::find::<Desk>(document)?;
    let (write, bytes) = write()?;
    let mut batch = desk.batch();
    if let Some(batch) = &mut *batch {
        return batch.push(write, bytes);
    }
    drop(batch);
    let number = desk.receipts().keep(make(&desk.document, &[write])?);
    if let Some(out) = out {
        out.put(number);
    }
    Ok(())
}

/// Makes a change of a record, or puts it into the batch. `what` gives the change, and how many bytes of JSON
/// it has beside the name of the collection.
///
/// # Safety
///
/// `collection` and `id` are null or texts, and `change` is null or a place for a number.
pub(crate) unsafe fn write_record(
    document: *const Document,
    collection: *const c_char,
    id: *const c_char,
    change: *mut u64,
    what: impl FnOnce(String, RecordId) -> Result<(Write, usize), Failure>,
) -> Code {
    // SAFETY: the caller's promise.
    guard(|| unsafe {
        write(document, change, || {
            let (collection, id) = (text("collection", collection)?, record_id(text("id", id)?)?);
            let (write, bytes) = what(collection.to_owned(), id)?;
            Ok((write, collection.len() + bytes))
        })
    })
}

/// Adds a record, with the fields of the JSON object `fields`, under the id `id`, or under a fresh one
/// where that is null: a UUID whose order is that of time. An id is 1 to 128 bytes without control
/// characters.
///
/// `id_out`, if it is not null, gets the id as a text to be given back, also in a batch.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND` (a record of that id is there), `STORE`, `DISK_FULL`,
/// `SYSTEM`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_insert(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    fields: *const c_char,
    id_out: *mut *mut c_char,
    change: *mut u64,
) -> Code {
    guard(|| {
        let mut fresh = None;
        // SAFETY: what the header asks for.
        unsafe {
            let out = OutText::optional(id_out, std::ptr::null_mut());
            write(document, change, || {
                let (collection, fields) =
                    (text("collection", collection)?, text("fields", fields)?);
                let id = optional_text("id", id)?.map_or_else(fresh_id, record_id)?;
                fresh = Some(id.to_string());
                let bytes = collection.len() + fields.len();
                let fields = json::fields("fields", fields)?;
                Ok((Write::Insert { collection: collection.to_owned(), id, fields }, bytes))
            })?;
            match (out, fresh) {
                (Some(out), Some(id)) => out.give(id),
                _ => Ok(()),
            }
        }
    })
}

/// Writes the fields of the JSON object `fields` and leaves the others of the record.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_update(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    fields: *const c_char,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        write_record(document, collection, id, change, |collection, id| {
            let text = text("fields", fields)?;
            let fields = json::fields("fields", text)?;
            Ok((Write::Update { collection, id, fields }, text.len()))
        })
    }
}

/// Writes one field at a path of nested maps, and leaves its neighbours. `path` is a JSON list of names,
/// such as `["address", "city"]`, and `field` a field as JSON.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_put(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    path: *const c_char,
    field: *const c_char,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        write_record(document, collection, id, change, |collection, id| {
            let (path, field) = (text("path", path)?, text("field", field)?);
            let bytes = path.len() + field.len();
            let (path, field) =
                (json::path("path", path)?, json::field(json::parse("field", field)?)?);
            Ok((Write::Put { collection, id, path, field }, bytes))
        })
    }
}

/// Takes a field out of a record, at a path as in `sync_put`, with all that is below it.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_unset(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    path: *const c_char,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        write_record(document, collection, id, change, |collection, id| {
            let text = text("path", path)?;
            let path = json::path("path", text)?;
            Ok((Write::Unset { collection, id, path }, text.len()))
        })
    }
}

/// Adds to a counter of a record, at a path as in `sync_put`; a negative amount takes away.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_count(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    path: *const c_char,
    amount: i64,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    unsafe {
        write_record(document, collection, id, change, |collection, id| {
            let text = text("path", path)?;
            let path = json::path("path", text)?;
            Ok((Write::Count { collection, id, path, amount }, text.len()))
        })
    }
}

/// Removes a record.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_remove(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    change: *mut u64,
) -> Code {
    let remove = |collection, id| Ok((Write::Remove { collection, id }, 0));
    // SAFETY: what the header asks for.
    unsafe { write_record(document, collection, id, change, remove) }
}

/// Makes a change of a set of the document, or puts it into the batch.
///
/// # Safety
///
/// `set` and `member` are null or texts, and `change` is null or a place for a number.
unsafe fn write_member(
    document: *const Document,
    set: *const c_char,
    member: *const c_char,
    change: *mut u64,
    what: impl FnOnce(String, Value) -> Write,
) -> Code {
    // SAFETY: the caller's promise.
    guard(|| unsafe {
        write(document, change, || {
            let (set, member) = (text("set", set)?, text("member", member)?);
            let bytes = set.len() + member.len();
            let member = json::value(json::parse("member", member)?)?;
            Ok((what(set.to_owned(), member), bytes))
        })
    })
}

/// Adds a member, a value as JSON, to a set of the document. A set begins to exist with its first member.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_set_add(
    document: *mut Document,
    set: *const c_char,
    member: *const c_char,
    change: *mut u64,
) -> Code {
    let add = |set, member| Write::AddMember { set, member };
    // SAFETY: what the header asks for.
    unsafe { write_member(document, set, member, change, add) }
}

/// Removes a member, a value as JSON, from a set of the document.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_set_remove(
    document: *mut Document,
    set: *const c_char,
    member: *const c_char,
    change: *mut u64,
) -> Code {
    let remove = |set, member| Write::RemoveMember { set, member };
    // SAFETY: what the header asks for.
    unsafe { write_member(document, set, member, change, remove) }
}

/// Adds to a counter of the document; a negative amount takes away. A counter begins at 0.
///
/// Errors: `MISUSE`, `CLOSED`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_counter_add(
    document: *mut Document,
    counter: *const c_char,
    amount: i64,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    guard(|| unsafe {
        write(document, change, || {
            let name = text("counter", counter)?.to_owned();
            let bytes = name.len();
            Ok((Write::CountValue { name, amount }, bytes))
        })
    })
}

/// Sets a single value of the document: a value as JSON, or `{"$latest": value}`.
///
/// Errors: `MISUSE`, `JSON`, `CLOSED`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_value_set(
    document: *mut Document,
    name: *const c_char,
    value: *const c_char,
    change: *mut u64,
) -> Code {
    // SAFETY: what the header asks for.
    guard(|| unsafe {
        write(document, change, || {
            let (name, value) = (text("name", name)?, text("value", value)?);
            let bytes = name.len() + value.len();
            let field = register(json::parse("value", value)?)?;
            Ok((Write::SetValue { name: name.to_owned(), field }, bytes))
        })
    })
}

fn register(json: Json) -> Result<Field, Failure> {
    match json::field(json)? {
        field @ (Field::Register(_) | Field::Latest(_)) => Ok(field),
        Field::Set(_) | Field::Counter(_) | Field::Map(_) => Err(json::wrong(
            "value is a set, a counter or a map; a document has sets and counters of its own, and maps \
             within records",
        )),
    }
}

/// Begins a batch: what is changed through this handle from here on waits, is not read by anybody, and is
/// made as one by `sync_commit`, here and elsewhere whole or not at all. A batch may have 16,384 changes
/// and 1 MiB of JSON; one change, and so a batch, takes at most some 160,000 bytes as it is stored, which
/// `sync_commit` looks at. Two threads that make batches at a time need a handle each.
///
/// Errors: `MISUSE` (one has begun already), `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_begin(document: *mut Document) -> Code {
    guard(|| {
        let desk = handles::find::<Desk>(document)?;
        let mut batch = desk.batch();
        if batch.is_some() {
            let text = "a batch has begun on this handle; commit it or roll it back first";
            return Err(Failure::misuse(text));
        }
        *batch = Some(Batch::default());
        Ok(())
    })
}

/// Makes the changes of the batch as one, and ends the batch, also where they are refused: then none of
/// them is made, and the message says which was refused. An empty batch changes nothing, and `change`
/// gets 0.
///
/// Errors: `MISUSE` (none has begun, or it is too large), `CLOSED`, `NOT_FOUND`, `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_commit(document: *mut Document, change: *mut u64) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { Out::optional(change, 0) };
        let desk = handles::find::<Desk>(document)?;
        let writes = desk.batch().take().ok_or_else(none)?.into_writes();
        if writes.is_empty() {
            return Ok(());
        }
        let number = desk.receipts().keep(make(&desk.document, &writes)?);
        if let Some(out) = out {
            out.put(number);
        }
        Ok(())
    })
}

/// Forgets the changes of the batch, and ends it.
///
/// Errors: `MISUSE` (none has begun), `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_rollback(document: *mut Document) -> Code {
    guard(|| handles::find::<Desk>(document)?.batch().take().map(drop).ok_or_else(none))
}

fn none() -> Failure {
    Failure::misuse("no batch has begun on this handle; call sync_begin first")
}
