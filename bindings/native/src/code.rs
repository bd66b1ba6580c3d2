//! What a call came to.

/// What a call came to. Where it is not `SYNC_CODE_OK`, `sync_error_message()` says what is wrong and
/// what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum Code {
    /// It is done.
    Ok = 0,
    /// The arguments cannot be used: null where something must be, text that is not UTF-8 or too long, a
    /// bad name, a number out of range, or a call at the wrong time. Nothing was changed.
    Misuse = 1,
    /// A text is not JSON, or not the JSON that is expected there. Nothing was changed.
    Json = 2,
    /// There is no such document, record, version, item or checkpoint, or a record of that id is there
    /// already. Nothing was changed.
    NotFound = 3,
    /// The handle was closed, or is none, or of another kind; or the client was shut down.
    Closed = 4,
    /// Another thread waits on this handle; or the item is on its way to the hub.
    Busy = 5,
    /// The time is over. What was waited for may still come about.
    TimedOut = 6,
    /// No connection, and no attempt to connect is to be expected.
    Offline = 7,
    /// The hub refused the change. It is kept here, and listed in the outbox.
    Parked = 8,
    /// What is asked for is no longer kept as a whole, by the limits of the feed or of the tape.
    Gone = 9,
    /// The data directory, or what is in it, cannot be opened.
    Open = 16,
    /// The data directory is open in another client, of this or another program.
    InUse = 17,
    /// The data directory may not be written.
    NotWritable = 18,
    /// The file in the data directory is no database, or one of another application. It is untouched.
    Foreign = 19,
    /// The file in the data directory, or one that was named, comes from a later version. It is untouched.
    Newer = 20,
    /// The file in the data directory, or one that was named, is damaged.
    Damaged = 21,
    /// The disk is full.
    DiskFull = 22,
    /// The address of the hub is none.
    Address = 23,
    /// There is a file already where one would be made.
    Exists = 24,
    /// A file or folder that was named cannot be read or written.
    File = 25,
    /// The local store failed. What is on disk is safe; nothing more is written until the client is
    /// opened again.
    Store = 32,
    /// Something could not be read from the local store.
    Read = 33,
    /// The system gave no thread, no random bytes, or no memory.
    System = 34,
    /// A fault of this library. Nothing is known of what the call did; open the client again.
    Panicked = 64,
    /// Something that this version of the header has no name for.
    Other = 65,
}
