//! Events: waited for, or told to a function.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::clients::{Client, Opened};
use crate::code::Code;
use crate::failure::{Failure, guard};
use crate::handles::{self, Thing};
use crate::pointers::{Out, OutText};
use crate::shapes;

/// A handle: a subscription to what happens in a client.
#[derive(Debug)]
pub struct Events {
    _nothing: [u8; 0],
}

/// A function that is told of events, one after the other, on a thread of the library. `event` is JSON as
/// `sync_next_event` gives it; it belongs to the library and stays until the function returns. The
/// function may call this library. It must return: it may neither end its thread nor jump out.
pub type Listener = Option<unsafe extern "C" fn(user: *mut c_void, event: *const c_char)>;

/// How far a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The caller does not have the handle.
    Made,
    Open,
    Closed,
}

/// Waits for events of one subscription.
struct Ear {
    subscription: sync_client::Subscription,
    /// For its timer.
    runtime: Runtime,
    stage: watch::Receiver<Stage>,
}

impl Ear {
    /// The next event as JSON.
    fn next(&mut self, timeout: Duration) -> Result<String, Failure> {
        let Self { subscription, runtime, stage } = self;
        let next = async {
            tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage == Stage::Closed) => None,
                event = subscription.next() => event,
            }
        };
        // The timer has to be made within the runtime.
        match runtime.block_on(async { tokio::time::timeout(timeout, next).await }) {
            Ok(Some(event)) => Ok(shapes::event(&event).to_string()),
            Ok(None) => {
                let text = "the subscription or its client was closed; no more events come";
                Err(Failure::new(Code::Closed, text))
            }
            Err(_) => Err(Failure::new(Code::TimedOut, "no event came in this time; ask again")),
        }
    }

    /// Waits until the caller has the handle, or it is closed again.
    fn wait_open(&mut self) {
        let Self { runtime, stage, .. } = self;
        // The sender is gone only where the subscription is.
        let _ = runtime.block_on(stage.wait_for(|stage| *stage != Stage::Made));
    }
}

enum Way {
    /// Somebody asks for each event.
    Asked(Mutex<Ear>),
    /// A thread tells them.
    Told { thread: Mutex<Option<JoinHandle<()>>>, id: ThreadId },
}

struct Subscribed {
    stage: watch::Sender<Stage>,
    way: Way,
}

impl Thing for Subscribed {
    type Face = Events;
    const NAME: &'static str = "a subscription";
}

impl Subscribed {
    /// Ends whoever waits. Where a thread tells events, that tells none any more afterwards.
    fn end(&self) {
        self.stage.send_replace(Stage::Closed);
        if let Way::Told { thread, id } = &self.way {
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A listener may close its own subscription: its thread ends once it returns.
            if let Some(thread) = thread.filter(|_| thread::current().id() != *id) {
                // No listener panics into this library.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.end();
    }
}

fn hear(client: *const Client) -> Result<(Ear, watch::Sender<Stage>), Failure> {
    let (sender, stage) = watch::channel(Stage::Made);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| no_system("timer", &error))?;
    let subscription = handles::find::<Opened>(client)?.0.subscribe();
    Ok((Ear { subscription, runtime, stage }, sender))
}

fn no_system(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Code::System, format!("the system gave no {what} ({error}); free something"))
}

/// Subscribes to everything that happens in a client from here on, to be asked for by `sync_next_event`.
/// At most 1,024 events wait for it; of more, `{"event": "missed"}` takes the place.
///
/// The subscription that `events` gets is the caller's, to be closed by `sync_events_close`, or with its
/// client.
///
/// Errors: `MISUSE`, `CLOSED`, `SYSTEM`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_subscribe(client: *mut Client, events: *mut *mut Events) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { Out::new("events", events, ptr::null_mut()) }?;
        let (ear, stage) = hear(client)?;
        let way = Way::Asked(Mutex::new(ear));
        out.put(handles::give(client, Subscribed { stage, way })?);
        Ok(())
    })
}

/// Blocks until the next event, at most so many milliseconds; 0 asks without waiting. One thread at a time
/// may wait on a subscription; closing it, or its client, wakes that one.
///
/// `json` gets a text to be given back, one of:
/// `{"event": "changed", "document": name, "places": [{"collection": name, "id": text}, {"set": name},
/// {"value": name}, …]}`: records, sets, values or counters changed, here or elsewhere;
/// `{"event": "status", "document": name}`: ask `sync_status` again;
/// `{"event": "peers", "document": name}`: ask `sync_peers` again;
/// `{"event": "conflict", "document": name, "entry": {…}}`: a conflict was seen, or its sides changed, with
/// the entry as `sync_conflict_log` has it, but for `"open"`;
/// `{"event": "renewed", "document": name, "replica": text}`: the document is written under another name
/// from here on;
/// `{"event": "connection", "connection": text, "reason": text or null}`: as `sync_connection` has it;
/// `{"event": "clock", "behind_ms": number}`: this device's clock is behind the hub's by so many
/// milliseconds, or ahead where negative; what is written has the hub's time. Tell whoever can set it;
/// `{"event": "scrubbed", "passes": number, "items": […]}`: the file was looked at in the background, as
/// `sync_scrubbed` has it;
/// `{"event": "missed"}`: nobody asked for too long, and events are gone: read everything again.
/// There may be others in later versions; leave out what you do not know.
///
/// Errors: `MISUSE` (null, or a subscription that tells a listener), `CLOSED`, `BUSY`, `TIMED_OUT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_next_event(
    events: *mut Events,
    timeout_ms: u64,
    json: *mut *mut c_char,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { OutText::text("json", json) }?;
        let subscribed = handles::find::<Subscribed>(events)?;
        let Way::Asked(ear) = &subscribed.way else {
            return Err(Failure::misuse("this subscription tells a listener; subscribe again"));
        };
        let mut ear = match ear.try_lock() {
            Ok(ear) => ear,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let text = "another thread waits on this subscription; let each have its own";
                return Err(Failure::new(Code::Busy, text));
            }
        };
        out.give(ear.next(Duration::from_millis(timeout_ms))?)
    })
}

/// Subscribes to everything that happens in a client from here on, and has a thread of the library tell it
/// to a function, with `user` handed through. While the function runs, at most 1,024 events wait.
///
/// The subscription that `events` gets is the caller's, to be closed by `sync_events_close`, or with its
/// client: that waits for the function to return, and it is not called afterwards. The function may do
/// that itself; then it is not called again once it returns.
///
/// Errors: `MISUSE`, `CLOSED`, `SYSTEM`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_listen(
    client: *mut Client,
    listener: Listener,
    user: *mut c_void,
    events: *mut *mut Events,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let out = unsafe { Out::new("events", events, ptr::null_mut()) }?;
        let listener = listener
            .ok_or_else(|| Failure::misuse("listener is null; give a function to be called"))?;
        let (mut ear, stage) = hear(client)?;
        let user = user.expose_provenance();
        let tell = move || {
            ear.wait_open();
            while let Ok(event) = ear.next(Duration::MAX) {
                let Ok(event) = CString::new(event) else { continue };
                // SAFETY: what the header asks for: a function that takes these and returns.
                unsafe { listener(ptr::with_exposed_provenance_mut(user), event.as_ptr()) };
            }
        };
        let thread = thread::Builder::new().name("sync-listener".to_owned());
        let thread = thread.spawn(tell).map_err(|error| no_system("thread", &error))?;
        let way = Way::Told { id: thread.thread().id(), thread: Mutex::new(Some(thread)) };
        let opening = stage.clone();
        out.put(handles::give(client, Subscribed { stage, way })?);
        opening.send_if_modified(|stage| {
            let is_made = *stage == Stage::Made;
            if is_made {
                *stage = Stage::Open;
            }
            is_made
        });
        Ok(())
    })
}

/// Closes a subscription. Whoever waits on it hears `CLOSED`.
///
/// Errors: `CLOSED`, also the second time.
#[unsafe(no_mangle)]
pub extern "C" fn sync_events_close(events: *mut Events) -> Code {
    guard(|| {
        handles::close::<Subscribed>(events)?.end();
        Ok(())
    })
}
