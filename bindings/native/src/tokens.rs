//! Tokens from a function of the caller's, which is not called any more once its client is closed.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use sync_client::TokenError;

/// How many bytes there are for a token, with the zero at its end. Arbitrary: far more than tokens have.
pub const SYNC_TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A function that gives a token: it writes one that ends with a zero into `token`, which has room for
/// `SYNC_TOKEN_BYTES_MAX` bytes, and says whether it did. It runs on a thread of the library and may block.
/// It may call this library, but must not close its own client. It must return: it may neither end its
/// thread nor jump out.
pub type TokenSource = Option<unsafe extern "C" fn(user: *mut c_void, token: *mut c_char) -> bool>;

/// A function that is there, and what it is called with.
#[derive(Clone, Copy)]
pub(crate) struct Giver {
    give: unsafe extern "C" fn(*mut c_void, *mut c_char) -> bool,
    /// The caller's pointer, as an address that was exposed.
    user: usize,
}

impl Giver {
    /// # Safety
    ///
    /// The function does what its type says.
    pub(crate) unsafe fn new(source: TokenSource, user: *mut c_void) -> Option<Self> {
        Some(Self { give: source?, user: user.expose_provenance() })
    }
}

/// Lets the function of one client be called until that is closed.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Passing>, Condvar)>);

#[derive(Default)]
struct Passing {
    is_closed: bool,
    /// The threads within the function.
    within: Vec<ThreadId>,
}

impl Gate {
    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a token.
    pub(crate) fn ask(&self, giver: Giver) -> Result<String, TokenError> {
        let own = thread::current().id();
        let mut passing = self.passing();
        if passing.is_closed {
            return Err("the client is closed".into());
        }
        passing.within.push(own);
        drop(passing);
        let mut token: Vec<c_char> = vec![0; SYNC_TOKEN_BYTES_MAX];
        // SAFETY: what the header asks for: a function that takes these, writes a text and returns.
        let is_given = unsafe {
            (giver.give)(ptr::with_exposed_provenance_mut(giver.user), token.as_mut_ptr())
        };
        self.passing().within.retain(|thread| *thread != own);
        self.0.1.notify_all();
        if !is_given {
            return Err("the function that gives tokens gave none".into());
        }
        let token: Vec<u8> = token.into_iter().map(|byte| byte as u8).collect();
        let token = CStr::from_bytes_until_nul(&token)
            .map_err(|_| format!("a token has at most {} bytes", SYNC_TOKEN_BYTES_MAX - 1))?;
        Ok(token.to_str().map_err(|error| format!("a token is UTF-8: {error}"))?.to_owned())
    }

    /// From here on the function is not called. Waits for a call that is under way.
    pub(crate) fn close(&self) {
        let own = thread::current().id();
        let mut passing = self.passing();
        passing.is_closed = true;
        while passing.within.iter().any(|thread| *thread != own) {
            passing = self.0.1.wait(passing).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    unsafe extern "C" fn many(user: *mut c_void, token: *mut c_char) -> bool {
        // SAFETY: the tests hand a number, and there is room for a token.
        unsafe {
            let len = (*user.cast::<AtomicUsize>()).load(Ordering::Relaxed);
            token.write_bytes(b'x', len);
        }
        true
    }

    unsafe extern "C" fn none(_: *mut c_void, token: *mut c_char) -> bool {
        // SAFETY: there is room for a token.
        unsafe { token.write(b'x' as c_char) };
        false
    }

    unsafe extern "C" fn not_text(_: *mut c_void, token: *mut c_char) -> bool {
        // SAFETY: there is room for a token.
        unsafe { token.write(0xff_u8 as c_char) };
        true
    }

    fn giver(source: TokenSource, len: &AtomicUsize) -> Giver {
        // SAFETY: as the functions above say.
        unsafe { Giver::new(source, ptr::from_ref(len).cast_mut().cast()) }.unwrap()
    }

    #[test]
    fn the_bytes_of_a_token_are_limited_and_none_or_no_text_is_none() {
        let gate = Gate::default();
        let limit = SYNC_TOKEN_BYTES_MAX - 1;
        for len in [0, 1, limit - 1, limit, limit + 1] {
            let asked = gate.ask(giver(Some(many), &AtomicUsize::new(len)));
            match asked {
                Ok(token) => assert!(token.len() == len && len <= limit),
                Err(error) => {
                    assert!(len > limit && error.to_string().contains("16383"), "{error}")
                }
            }
        }
        let number = AtomicUsize::new(0);
        assert!(gate.ask(giver(Some(none), &number)).is_err());
        assert!(gate.ask(giver(Some(not_text), &number)).is_err());
        // SAFETY: no function at all.
        assert!(unsafe { Giver::new(None, ptr::null_mut()) }.is_none());
    }

    struct Held {
        entered: Sender<()>,
        go: Receiver<()>,
    }

    unsafe extern "C" fn held(user: *mut c_void, token: *mut c_char) -> bool {
        // SAFETY: the test hands this, and there is room for a token.
        unsafe {
            let held = &*user.cast::<Held>();
            held.entered.send(()).unwrap();
            // The test may have failed.
            let _ = held.go.recv();
            token.write(b'x' as c_char);
        }
        true
    }

    #[test]
    fn closing_waits_for_a_call_that_is_under_way_and_there_is_none_afterwards() {
        let (gate, (entered, enters), (go, goes)) = (Gate::default(), channel(), channel());
        let mut user = Held { entered, go: goes };
        // SAFETY: as the function above says.
        let giver = unsafe { Giver::new(Some(held), (&raw mut user).cast()) }.unwrap();
        thread::scope(|scope| {
            let go = go;
            let asker = scope.spawn(|| gate.ask(giver).unwrap());
            enters.recv().unwrap();
            let closer = scope.spawn(|| gate.close());
            while !gate.passing().is_closed {
                thread::yield_now();
            }
            for _ in 0..1_000 {
                assert!(!closer.is_finished());
                thread::yield_now();
            }
            go.send(()).unwrap();
            assert_eq!(asker.join().unwrap(), "x");
            closer.join().unwrap();
        });
        assert!(gate.ask(giver).is_err());
        assert!(enters.try_recv().is_err(), "it was not called");
    }
}
