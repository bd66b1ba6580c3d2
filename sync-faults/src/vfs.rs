//! The VFS: what SQLite calls, for the files on a mounted disk; all others are the platform's.
//!
//! It has no shared memory, so a write-ahead log needs exclusive locking; nor does it lock anything:
//! whoever tests locks does so without it.

#![allow(unsafe_code, reason = "SQLite is called, and calls, in C")]

use std::ffi::{CStr, OsStr};
use std::os::raw::{c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::disk::{self, OpenFile};

/// A file as SQLite holds it: its first field is what SQLite knows of it.
#[repr(C)]
struct Handle {
    base: ffi::sqlite3_file,
    /// From [`Box::into_raw`], until it is closed.
    file: *mut OpenFile,
}

/// The VFS that files elsewhere are left to.
struct Platform(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own VFS may be called from any thread and lives as long as the process.
unsafe impl Send for Platform {}
// SAFETY: as above.
unsafe impl Sync for Platform {}

static PLATFORM: OnceLock<Platform> = OnceLock::new();

/// Makes this VFS SQLite's default one. Later calls do nothing.
pub(crate) fn register() {
    PLATFORM.get_or_init(|| {
        // SAFETY: SQLite gives its default VFS or null. The copy has the same functions but for those
        // that open, delete and look, and is leaked, since SQLite keeps the pointer.
        unsafe {
            let platform = ffi::sqlite3_vfs_find(std::ptr::null());
            assert!(!platform.is_null(), "SQLite has a VFS for this platform");
            let mut vfs = *platform;
            let bytes = size_of::<Handle>() as c_int;
            vfs.szOsFile = vfs.szOsFile.max(bytes);
            vfs.zName = c"sync-faults".as_ptr();
            vfs.pNext = std::ptr::null_mut();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            vfs.xAccess = Some(access);
            let registered = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 1);
            assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes another VFS");
            Platform(platform)
        }
    });
}

fn platform() -> *mut ffi::sqlite3_vfs {
    PLATFORM.get().expect("it was set before SQLite could call").0
}

fn code(outcome: Result<(), c_int>) -> c_int {
    outcome.err().unwrap_or(ffi::SQLITE_OK)
}

/// The path that a name of SQLite's is.
///
/// # Safety
///
/// `name` is null or a text that ends with a zero and stays as long as the path is used.
unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    if name.is_null() {
        return None;
    }
    // SAFETY: as the caller says.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a name that lasts as long as the file, and room of `szOsFile` bytes for the
    // file, which is enough for a handle and for the platform's.
    unsafe {
        let on_disk = path(name).and_then(|path| Some((path, disk::of(path)?)));
        let Some((path, disk)) = on_disk else {
            let platform = platform();
            let open = (*platform).xOpen.expect("every VFS opens files");
            return open(platform, name, file, flags, out_flags);
        };
        // Without methods SQLite does not close what was not opened.
        (*file).pMethods = std::ptr::null();
        match disk.open(path, flags) {
            Ok(opened) => {
                let handle = file.cast::<Handle>();
                (*handle).file = Box::into_raw(Box::new(opened));
                (*handle).base.pMethods = &raw const METHODS;
                if !out_flags.is_null() {
                    *out_flags = flags;
                }
                ffi::SQLITE_OK
            }
            Err(code) => code,
        }
    }
}

unsafe extern "C" fn delete(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    syncs_folder: c_int,
) -> c_int {
    // SAFETY: SQLite gives a path.
    unsafe {
        match path(name).and_then(|path| Some((path, disk::of(path)?))) {
            Some((path, disk)) => code(disk.delete(path, syncs_folder != 0)),
            None => {
                let platform = platform();
                (*platform).xDelete.expect("every VFS deletes files")(platform, name, syncs_folder)
            }
        }
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a path, and a number to set.
    unsafe {
        match path(name).and_then(|path| Some((path, disk::of(path)?))) {
            Some((path, disk)) => code(disk.is_there(path).map(|is| *out = is.into())),
            None => {
                let platform = platform();
                (*platform).xAccess.expect("every VFS looks for files")(platform, name, flags, out)
            }
        }
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// The file of a handle.
///
/// # Safety
///
/// `file` was opened by [`open`] on a disk, is not closed, and is used by this call alone.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut OpenFile {
    // SAFETY: as the caller says.
    unsafe { &mut *(*file.cast::<Handle>()).file }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes what is open, once; the pointer came from a box.
    unsafe { drop(Box::from_raw((*file.cast::<Handle>()).file)) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and the buffer has so many bytes.
    unsafe {
        let buffer = std::slice::from_raw_parts_mut(buffer.cast(), bytes as usize);
        code(opened(file).read(at as u64, buffer))
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    bytes: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and the buffer has so many bytes.
    unsafe {
        let buffer = std::slice::from_raw_parts(buffer.cast(), bytes as usize);
        code(opened(file).write(at as u64, buffer))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    unsafe { code(opened(file).truncate(len as u64)) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { code(opened(file).sync()) }
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and there is a number to set.
    unsafe { code(opened(file).size().map(|size| *out = size as i64)) }
}

unsafe extern "C" fn lock(_: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(_: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: there is a number to set.
    unsafe { *out = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

/// As the platform says.
unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

/// As the platform says: bytes beside those that are written stay as they are.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}
