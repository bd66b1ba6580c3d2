//! Opening and closing: builders and clients.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value as Json;
use sync_client::Limits;

use crate::code::Code;
use crate::documents::limited;
use crate::failure::{Failure, guard};
use crate::handles::{self, Thing};
use crate::pointers::{Out, OutText, text};
use crate::shapes;
use crate::tokens::{Gate, Giver, TokenSource};

/// A handle: how a client is to be opened.
#[derive(Debug)]
pub struct Builder {
    _nothing: [u8; 0],
}

/// A handle: an open data directory, with its line to a hub.
#[derive(Debug)]
pub struct Client {
    _nothing: [u8; 0],
}

struct Plan(Mutex<Planned>);

#[derive(Clone)]
struct Planned {
    builder: sync_client::Builder,
    tokens: Option<Giver>,
}

impl Thing for Plan {
    type Face = Builder;
    const NAME: &'static str = "a builder";
}

/// An open client, and the gate to the function that gives it tokens.
pub(crate) struct Opened(pub(crate) sync_client::Client, Gate);

impl Thing for Opened {
    type Face = Client;
    const NAME: &'static str = "a client";
}

fn set(
    builder: *const Builder,
    change: impl FnOnce(sync_client::Builder) -> sync_client::Builder,
) -> Result<(), Failure> {
    let plan = handles::find::<Plan>(builder)?;
    let mut plan = plan.0.lock().unwrap_or_else(PoisonError::into_inner);
    plan.builder = change(plan.builder.clone());
    Ok(())
}

/// How much is kept; 0 stands for what is kept by default.
fn limits(bytes_max: u64, age_ms_max: u64, default: Limits) -> Limits {
    let age_max = Duration::from_millis(age_ms_max);
    Limits {
        bytes_max: if bytes_max == 0 { default.bytes_max } else { bytes_max },
        age_max: if age_ms_max == 0 { default.age_max } else { age_max },
    }
}

/// Prepares to open a data directory. Nothing is opened or made before `sync_open`.
///
/// `directory` is a path in UTF-8. The builder that `builder` gets is the caller's, to be closed by
/// `sync_builder_close`.
///
/// Errors: `MISUSE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_new(
    directory: *const c_char,
    builder: *mut *mut Builder,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, directory) = unsafe {
            (Out::new("builder", builder, ptr::null_mut())?, text("directory", directory)?)
        };
        let builder = sync_client::Client::builder(directory).agent("sync-native");
        let plan = Plan(Mutex::new(Planned { builder, tokens: None }));
        out.put(handles::give(ptr::null::<Builder>(), plan)?);
        Ok(())
    })
}

/// Opens this document too. At least one has to be named; a client sees no others. A name is 1 to 128
/// bytes without control characters, and `sync_open` looks at it.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_document(builder: *mut Builder, name: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let name = unsafe { text("name", name) }?;
        set(builder, |plan| plan.document(name))
    })
}

/// Names the hub: `http://HOST:PORT`, `https://`, `ws://` or `wss://`, with or without a path. Without a
/// hub everything works, and waits in the outbox. `sync_open` looks at the address.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_hub(builder: *mut Builder, address: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let address = unsafe { text("address", address) }?;
        set(builder, |plan| plan.hub(address))
    })
}

/// Says who this is, where the hub asks for it.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_token(builder: *mut Builder, token: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let token = unsafe { text("token", token) }?;
        set(builder, |plan| plan.token(token))
    })
}

/// Says where a token comes from, where the hub asks who this is: a function that is called, with `user`
/// handed through, before each attempt to connect, so also once the hub has said that a token was not
/// accepted or has ended. Where it gives none, or the one that was refused, or takes more than a minute, it
/// is asked again after a while. It may be called from now until the last client that this builder opened
/// is closed; `sync_close` waits for it to return.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_token_source(
    builder: *mut Builder,
    source: TokenSource,
    user: *mut c_void,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let giver = unsafe { Giver::new(source, user) };
        let giver = giver
            .ok_or_else(|| Failure::misuse("source is null; give a function that gives tokens"))?;
        let plan = handles::find::<Plan>(builder)?;
        plan.0.lock().unwrap_or_else(PoisonError::into_inner).tokens = Some(giver);
        Ok(())
    })
}

/// Limits the checkpoints and the tape of each document, in bytes and in milliseconds of age; what is older
/// goes, and then the oldest until the rest fits. 0 stands for the default: 256 MiB of checkpoints and 64 MiB
/// of tape, a year each. Without a checkpoint nothing is kept.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_keep_checkpoints(
    builder: *mut Builder,
    checkpoint_bytes_max: u64,
    checkpoint_age_ms_max: u64,
    tape_bytes_max: u64,
    tape_age_ms_max: u64,
) -> Code {
    guard(|| {
        let checkpoints = limits(checkpoint_bytes_max, checkpoint_age_ms_max, Limits::CHECKPOINTS);
        let tape = limits(tape_bytes_max, tape_age_ms_max, Limits::TAPE);
        set(builder, |plan| plan.keep_checkpoints(checkpoints, tape))
    })
}

/// Keeps what is needed to undo what is changed here, up to so many bytes of each document and so many
/// milliseconds of age: `sync_undo`. 0 stands for the default: 4 MiB, 30 days. Where a client is opened
/// without this, what was kept before is forgotten.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_keep_undo(
    builder: *mut Builder,
    bytes_max: u64,
    age_ms_max: u64,
) -> Code {
    guard(|| set(builder, |plan| plan.keep_undo(limits(bytes_max, age_ms_max, Limits::UNDO))))
}

/// Keeps a feed of what changes, here and elsewhere, up to so many bytes of each document and so many
/// milliseconds of age: `sync_feed`. 0 stands for the default: 64 MiB, 30 days. Where a client is opened
/// without this, what was kept before is forgotten.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_keep_feed(
    builder: *mut Builder,
    bytes_max: u64,
    age_ms_max: u64,
) -> Code {
    guard(|| set(builder, |plan| plan.keep_feed(limits(bytes_max, age_ms_max, Limits::FEED))))
}

/// Names this program to the hub, and to others who are online: 1 to 128 bytes without control
/// characters. It is `sync-native` where not given.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_builder_agent(builder: *mut Builder, name: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let name = unsafe { text("name", name) }?;
        set(builder, |plan| plan.agent(name))
    })
}

/// Opens with the line switched off, as `sync_set_offline` does, or not.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_offline(builder: *mut Builder, is_offline: bool) -> Code {
    guard(|| set(builder, |plan| plan.offline(is_offline)))
}

/// Looks at every row of the file at opening and takes out what is damaged, in place of an error:
/// `sync_damage` lists it, and a hub that has it brings it again. The time grows with the file.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_repair(builder: *mut Builder) -> Code {
    guard(|| set(builder, sync_client::Builder::repair))
}

/// Closes a builder. Clients that it opened stay open.
///
/// Errors: `CLOSED`, also the second time.
#[unsafe(no_mangle)]
pub extern "C" fn sync_builder_close(builder: *mut Builder) -> Code {
    guard(|| handles::close::<Plan>(builder).map(drop))
}

/// Opens the data directory, makes it if there is none, and starts to connect. Never waits for the
/// network. Each directory belongs to one client at a time.
///
/// The client that `client` gets is the caller's, to be closed by `sync_close`. The builder stays the
/// caller's too.
///
/// Errors: `MISUSE` (no document, a bad name), `CLOSED`, `ADDRESS`, `OPEN`, `IN_USE`, `NOT_WRITABLE`,
/// `FOREIGN`, `NEWER`, `DAMAGED`, `DISK_FULL`, `SYSTEM`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_open(builder: *mut Builder, client: *mut *mut Client) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { Out::new("client", client, ptr::null_mut()) }?;
        let plan = handles::find::<Plan>(builder)?;
        let plan = plan.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Planned { mut builder, tokens } = plan;
        let gate = Gate::default();
        if let Some(giver) = tokens {
            let gate = gate.clone();
            builder = builder.blocking_token_source(move || gate.ask(giver));
        }
        let opened = Opened(builder.open()?, gate.clone());
        let given = handles::give(ptr::null::<Client>(), opened);
        // A client without a handle asks for nothing any more.
        out.put(given.inspect_err(|_| gate.close())?);
        Ok(())
    })
}

/// Shuts the client down once everything that was accepted is on disk, and closes it with its documents and
/// subscriptions; whoever waits on one of them hears `CLOSED`. Takes a moment to say goodbye to the hub, at
/// most, and waits for a function that gives tokens to return. The directory can be opened again
/// afterwards. The client is closed whatever this gives.
///
/// A program that ends without this loses what is not yet on disk.
///
/// Errors: `CLOSED`, also the second time; `STORE` or `DISK_FULL` where the store had failed.
#[unsafe(no_mangle)]
pub extern "C" fn sync_close(client: *mut Client) -> Code {
    guard(|| {
        let opened = handles::find::<Opened>(client)?;
        // First, so that what waits within a listener ends, which is waited for.
        let outcome = opened.0.shutdown();
        handles::close::<Opened>(client)?;
        opened.1.close();
        Ok(outcome?)
    })
}

/// Blocks until nothing waits for the hub and the hub's state is here, in all documents; at most so many
/// milliseconds.
///
/// Errors: `CLOSED`, `TIMED_OUT`, `OFFLINE`, `PARKED`, `STORE`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_wait_sync(client: *mut Client, timeout_ms: u64) -> Code {
    guard(|| {
        let client = handles::find::<Opened>(client)?;
        Ok(client.0.wait_sync(Duration::from_millis(timeout_ms))?)
    })
}

/// Switches the line off or on. While it is off nothing is sent or received, and changes wait in the
/// outbox.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_set_offline(client: *mut Client, is_offline: bool) -> Code {
    guard(|| {
        handles::find::<Opened>(client)?.0.set_offline(is_offline);
        Ok(())
    })
}

/// Tries to connect at once, also after the hub turned this client away.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_reconnect(client: *mut Client) -> Code {
    guard(|| {
        handles::find::<Opened>(client)?.0.reconnect();
        Ok(())
    })
}

fn read(
    client: *const Client,
    json: *mut *mut c_char,
    read: impl FnOnce(&sync_client::Client) -> Result<Json, Failure>,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { OutText::text("json", json) }?;
        let client = handles::find::<Opened>(client)?;
        out.give(read(&client.0)?.to_string())
    })
}

/// Says how the line to the hub is.
///
/// `json` gets a text to be given back: `{"connection": "online", "connecting" or "offline", "reason":
/// text or null}`.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_connection(client: *mut Client, json: *mut *mut c_char) -> Code {
    read(client, json, |client| Ok(shapes::connection(&client.connection())))
}

/// Looks at the whole file, and lists what is not as it was written, up to 100 rows. Others read and write
/// in between, though they may wait for a step of it. The time grows with the file. `sync_builder_repair`
/// takes out what this finds.
///
/// `json` gets a text to be given back: `{"items": […], "more": number of those behind}`, with items
/// `{"table": name, or null for what SQLite says, "row": text}`.
///
/// Errors: `MISUSE`, `CLOSED`, `READ`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_verify(client: *mut Client, json: *mut *mut c_char) -> Code {
    read(client, json, |client| limited("items", SYNC_LIST_MAX, &client.verify()?, shapes::damage))
}

/// Says what looking at the file in the background has found. A pass begins soon after opening, and each
/// day from then on; each ends with an event.
///
/// `json` gets a text to be given back: `{"passes": how often the whole file was looked at since it was
/// opened, "items": what the last pass found, in the form of `sync_verify`}`.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_scrubbed(client: *mut Client, json: *mut *mut c_char) -> Code {
    read(client, json, |client| Ok(shapes::scrubbed(&client.scrubbed())))
}

/// Lists what was damaged in the file and was taken out at opening, where `sync_builder_repair` asked for
/// that; in the form of `sync_verify`.
///
/// Errors: `MISUSE`, `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_damage(client: *mut Client, json: *mut *mut c_char) -> Code {
    read(client, json, |client| limited("items", SYNC_LIST_MAX, client.damage(), shapes::damage))
}

/// The most items that one call lists.
pub const SYNC_LIST_MAX: usize = 1_000;
