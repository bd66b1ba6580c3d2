//! Copies: backups, files of documents; and leaving nothing of what was deleted.

#![allow(unsafe_code, reason = "callers are written in C")]

use std::ffi::c_char;

use crate::clients::{Client, Opened};
use crate::code::Code;
use crate::documents::{Desk, Document};
use crate::failure::guard;
use crate::handles;
use crate::pointers::{Out, text};

/// Copies all documents as they are now into a folder, which is made if there is none, while the client is
/// in use. A client that is opened on the copy is another replica; what was not sent yet is in its outbox
/// too, and is never there twice.
///
/// Errors: `MISUSE`, `CLOSED`, `EXISTS`, `FILE`, `DISK_FULL`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_backup(client: *mut Client, folder: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let folder = unsafe { text("folder", folder) }?;
        handles::find::<Opened>(client)?.0.backup(folder)?;
        Ok(())
    })
}

/// Leaves nothing in the file of what was deleted or overwritten, the conflict log included; what still
/// clashes stays. Blocks, and nothing else is read or changed meanwhile.
///
/// Errors: `CLOSED`, `STORE`, `READ`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub extern "C" fn sync_purge(client: *mut Client) -> Code {
    guard(|| Ok(handles::find::<Opened>(client)?.0.purge()?))
}

/// Writes the document as it is here to a file, for `sync_import` on any device: at most 256 MiB, and held
/// in memory. A file of this name is replaced once all of the new one is on the disk.
///
/// Errors: `MISUSE` (the document is too large, too), `CLOSED`, `FILE`, `READ`, `DAMAGED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_export(document: *mut Document, path: *const c_char) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let path = unsafe { text("path", path) }?;
        Ok(handles::find::<Desk>(document)?.document.export_to(path)?)
    })
}

/// Joins a file that `sync_export` wrote with the document. Blocks, and nothing else is read or changed
/// meanwhile. `count`, if it is not null, gets how many fields that were written, and removals, were not
/// here before.
///
/// Errors: `MISUSE` (the file is too large, too), `CLOSED`, `FILE`, `DAMAGED` (or no such file), `NEWER`,
/// `STORE`, `DISK_FULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sync_import(
    document: *mut Document,
    path: *const c_char,
    count: *mut u64,
) -> Code {
    guard(|| {
        // SAFETY: what the header asks for.
        let (out, path) = unsafe { (Out::optional(count, 0), text("path", path)?) };
        let imported = handles::find::<Desk>(document)?.document.import_from(path)?;
        if let Some(out) = out {
            out.put(imported.new);
        }
        Ok(())
    })
}
