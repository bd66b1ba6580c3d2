//! Undo and redo, where `sync_builder_keep_undo` asked for a history.

#![allow(unsafe_code, reason = "callers are written in C")]

use sync_client::{DocumentHandle, Error, Written};

use crate::code::Code;
use crate::documents::{Desk, Document};
use crate::failure::guard;
use crate::handles;
use crate::pointers::Out;

/// Makes a change that takes something back, if there is one.
///
/// # Safety
///
/// `change` is null or a place for a number.
unsafe fn turn(
    document: *const Document,
    change: *mut u64,
    turn: impl FnOnce(&DocumentHandle) -> Result<Option<Written>, Error>,
) -> Code {
    guard(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::optional(change, 0) };
        let desk = handles::find::<Desk>(document)?;
        let written = turn(&desk.document)?;
        let number = written.map(|written| desk.receipts().keep(written));
        if let (Some(out), Some(number)) = (out, number) {
            out.put(number);
        }
        Ok(())
    })
}

/// Undoes the last change that was made in this client and not undone, as an ordinary change, which is never
/// part of a batch: what it wrote and is still there goes, what it replaced comes again where nobody has
/// written anything else since. `change` gets 0 where there is nothing to undo.
///
/// Errors: `MISUSE`, `CLOSED`, `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_undo(document: *mut Document, change: *mut u64) -> Code {
    // SAFETY: what the header asks for.
    unsafe { turn(document, change, DocumentHandle::undo) }
}

/// Does again what was undone last, where nothing was changed here since. `change` gets 0 where there is
/// nothing.
///
/// Errors: `MISUSE`, `CLOSED`, `STORE`, `READ`, `DAMAGED`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_redo(document: *mut Document, change: *mut u64) -> Code {
    // SAFETY: what the header asks for.
    unsafe { turn(document, change, DocumentHandle::redo) }
}

/// Says how many changes can be undone, and how many redone. Both may be null.
///
/// Errors: `CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_undo_depth(
    document: *mut Document,
    undos: *mut usize,
    redos: *mut usize,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let outs = unsafe { [Out::optional(undos, 0), Out::optional(redos, 0)] };
        let (undos, redos) = handles::find::<Desk>(document)?.document.undo_depth();
        for (out, count) in outs.into_iter().zip([undos, redos]) {
            if let Some(out) = out {
                out.put(count);
            }
        }
        Ok(())
    })
}

/// Forgets what can be undone and redone. Blocks until that is on disk.
///
/// Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_undo_purge(document: *mut Document) -> Code {
    guard(|| Ok(handles::find::<Desk>(document)?.document.purge_undo()?))
}
