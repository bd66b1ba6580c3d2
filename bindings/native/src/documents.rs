//! Reading: documents, records, sets, values, status, presence.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};
use sync_client::{DocumentHandle, Record, RecordId, RecordPage};

use crate::clients::{Client, Opened, SYNC_LIST_MAX};
use crate::code::Code;
use crate::failure::{Failure, guard};
use crate::handles::{self, Thing};
use crate::json::{of_fields, of_value};
use crate::pointers::{Out, OutText, bytes, optional_text, text};
use crate::shapes;
use crate::writes::{Batch, Receipts};

/// A handle: an open document, for reading and changing it. It holds what `sync_begin` began, and
/// remembers the last changes that were made through it.
#[derive(Debug)]
pub struct Document {
    _nothing: [u8; 0],
}

/// An open document.
pub(crate) struct Desk {
    pub(crate) document: DocumentHandle,
    /// The number of the client's handle.
    client: usize,
    batch: Mutex<Option<Batch>>,
    receipts: Mutex<Receipts>,
}

impl Desk {
    /// The handle of its client.
    pub(crate) fn client(&self) -> *const Client {
        ptr::without_provenance(self.client)
    }

    pub(crate) fn batch(&self) -> MutexGuard<'_, Option<Batch>> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn receipts(&self) -> MutexGuard<'_, Receipts> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thing for Desk {
    type Face = Document;
    const NAME: &'static str = "a document";
}

/// Gives a handle of a document that was named at opening. There may be several of one document; each
/// has a batch of its own.
///
/// The handle that `document` gets is the caller's, to be closed by `sync_document_close`, or with its
/// client.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (it was not named at opening).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_document_open(
    client: *mut Client,
    name: *const c_char,
    document: *mut *mut Document,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, name) =
            unsafe { (Out::new("document", document, ptr::null_mut())?, text("name", name)?) };
        let document = handles::find::<Opened>(client)?.0.document(name)?;
        let (batch, receipts) = (Mutex::default(), Mutex::default());
        let desk = Desk { document, client: client.addr(), batch, receipts };
        out.put(handles::give(client, desk)?);
        Ok(())
    })
}

/// Closes a handle of a document. What was begun and not committed is forgotten; what was changed is not.
///
/// Errors: `CLOSED`, also the second time.
#[unsafe(no_mangle)]
pub extern "C" fn sync_document_close(document: *mut Document) -> Code {
    guard(|| handles::close::<Desk>(document).map(drop))
}

/// Reads an id.
pub(crate) fn record_id(text: &str) -> Result<RecordId, Failure> {
    Ok(RecordId::new(text)?)
}

/// Gives JSON that is read from a document.
pub(crate) fn read(
    document: *const Document,
    json: *mut *mut c_char,
    read: impl FnOnce(&DocumentHandle) -> Result<Json, Failure>,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { OutText::text("json", json) }?;
        let desk = handles::find::<Desk>(document)?;
        out.give(read(&desk.document)?.to_string())
    })
}

pub(crate) fn check_limit(limit: usize) -> Result<(), Failure> {
    if (1..=SYNC_LIST_MAX).contains(&limit) {
        return Ok(());
    }
    Err(Failure::misuse(format!("limit is {limit}; give one from 1 to {SYNC_LIST_MAX}")))
}

/// A failure to find something.
pub(crate) fn not_there(text: String) -> Failure {
    Failure::new(Code::NotFound, text)
}

/// A record as JSON.
pub(crate) fn record(id: &RecordId, record: &Record) -> Json {
    let is_in_conflict = !record.conflicts().is_empty();
    json!({
        "id": id.to_string(), "fields": of_fields(&record.fields()), "conflict": is_in_conflict,
    })
}

/// A page of records behind an id.
pub(crate) fn page(
    after: Option<&str>,
    limit: usize,
    read: impl FnOnce(Option<&RecordId>) -> Result<RecordPage, Failure>,
) -> Result<Json, Failure> {
    let after = after.map(record_id).transpose()?;
    check_limit(limit)?;
    let page = read(after.as_ref())?;
    let records: Vec<_> = page.records.iter().map(|(id, read)| record(id, read)).collect();
    Ok(json!({ "records": records, "next": page.next.map(|id| id.to_string()) }))
}

/// The first of some items, and how many more there are.
pub(crate) fn limited<T>(
    name: &str,
    limit: usize,
    items: &[T],
    shape: impl FnMut(&T) -> Json,
) -> Result<Json, Failure> {
    check_limit(limit)?;
    let more = items.len().saturating_sub(limit);
    let items: Vec<_> = items.iter().take(limit).map(shape).collect();
    Ok(json!({ name: items, "more": more }))
}

/// Reads a record.
///
/// `json` gets a text to be given back: `{"id": text, "fields": {name: field, …}, "conflict": whether
/// something about it clashes}`.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_get(
    document: *mut Document,
    collection: *const c_char,
    id: *const c_char,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        // SAFETY: what the header asks for.
        let (collection, id) = unsafe { (text("collection", collection)?, text("id", id)?) };
        let Some(item) = document.collection(collection).get(&record_id(id)?)? else {
            let text =
                format!("no record {id} in collection {collection}; it may have been deleted");
            return Err(not_there(text));
        };
        Ok(json!({ "id": id, "fields": of_fields(&item.fields), "conflict": item.is_in_conflict }))
    })
}

/// Reads records of a collection in the order of their ids: up to `limit` of those behind the id `after`,
/// or from the start where that is null. `limit` is 1 to `SYNC_LIST_MAX`. A collection that does not exist
/// has no records.
///
/// `json` gets a text to be given back: `{"records": […], "next": id or null}`, with records in the form of
/// `sync_get`. Where `next` is an id, there may be more: ask again with it as `after`.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_list(
    document: *mut Document,
    collection: *const c_char,
    after: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        // SAFETY: what the header asks for.
        let (collection, after) =
            unsafe { (text("collection", collection)?, optional_text("after", after)?) };
        page(after, limit, |after| {
            Ok(document.read(|document| document.page(collection, after, limit))?)
        })
    })
}

/// Lists the collections that hold anything, in order.
///
/// `json` gets a text to be given back: a list of names.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_collections(document: *mut Document, json: *mut *mut c_char) -> Code {
    read(document, json, |document| Ok(json!(document.read(|document| document.collections())?)))
}

/// Reads a set of the document, in order: the first `limit` members, from 1 to `SYNC_LIST_MAX`. A set that
/// does not exist is empty.
///
/// `json` gets a text to be given back: `{"members": [value, …], "more": number of those behind}`.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_set(
    document: *mut Document,
    set: *const c_char,
    limit: usize,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        // SAFETY: what the header asks for.
        let set = unsafe { text("set", set) }?;
        let members: Vec<_> = document.set(set)?.into_iter().collect();
        limited("members", limit, &members, of_value)
    })
}

/// Says what a counter of the document stands at; 0 where there is none of this name.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_counter(
    document: *mut Document,
    counter: *const c_char,
    count: *mut i64,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, counter) = unsafe { (Out::new("count", count, 0)?, text("counter", counter)?) };
        let desk = handles::find::<Desk>(document)?;
        out.put(desk.document.read(|document| document.counter(counter))?);
        Ok(())
    })
}

/// Reads a single value of the document.
///
/// `json` gets a text to be given back: the value.
///
/// Errors: `MISUSE`, `CLOSED`, `NOT_FOUND` (it was never set), `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_value(
    document: *mut Document,
    name: *const c_char,
    json: *mut *mut c_char,
) -> Code {
    read(document, json, |document| {
        // SAFETY: what the header asks for.
        let name = unsafe { text("name", name) }?;
        let value = document.read(|document| document.value(name))?;
        let value = value.ok_or_else(|| not_there(format!("no value {name}; set it first")))?;
        Ok(of_value(&value))
    })
}

/// Says how the document is with its hub.
///
/// `json` gets a text to be given back: an object with the keys of `sync_connection`, and
/// `"phase"`: `"closed"`, `"opening"`, `"catching-up"` or `"live"`;
/// `"pending"`, `"pending_bytes"`: changes that the hub has not acknowledged, and no less than their bytes;
/// `"parked"`, `"parked_bytes"`: changes that it refused and that are kept here, and likewise;
/// `"refilling"`: whether the hub lacks something else that is here;
/// `"lag"`: how many fields that were written, and removals, the hub had that are not here, or null;
/// `"lag_ms"`: for how many milliseconds not all that the hub had has been known to be here, or null;
/// `"heard_ms"`, `"current_ms"`: when the hub was last heard, and when all that it had was here, in
/// milliseconds since 1970 by this device's clock, or null;
/// `"progress"`: `{"received": bytes, "total": bytes or null}` of a catch-up that is under way, or null;
/// `"conflicts"`: how many records and values clash; `"replica"`: who writes here.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_status(document: *mut Document, json: *mut *mut c_char) -> Code {
    read(document, json, |document| Ok(shapes::status(&document.status())))
}

/// Shows others that this client is online in the document, under a name of at most 128 bytes, with at
/// most 4,096 bytes of the application's own. It ends when the client goes.
///
/// Errors: `MISUSE`, `CLOSED`, `STORE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_show(
    document: *mut Document,
    name: *const c_char,
    state: *const u8,
    state_len: usize,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (name, state) =
            unsafe { (text("name", name)?, bytes("the bytes of state", state, state_len)?) };
        Ok(handles::find::<Desk>(document)?.document.show(name, state)?)
    })
}

/// Lists who else is online in the document: the first `SYNC_LIST_MAX` of them.
///
/// `json` gets a text to be given back: `{"peers": [{"replica": text, "name": text, "state": {"$bytes":
/// base64}}, …], "more": number of those behind}`.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_peers(document: *mut Document, json: *mut *mut c_char) -> Code {
    read(document, json, |document| {
        let peers: Vec<_> = document.peers().into_iter().collect();
        limited("peers", SYNC_LIST_MAX, &peers, |(replica, peer)| shapes::peer(replica, peer))
    })
}
