//! The end of what was kept of deleted things.

use std::sync::Arc;

use crate::client::Client;
use crate::error::Error;

impl Client {
    /// Empties what is kept of deleted and overwritten things in all documents of the file, which
    /// [`DocumentHandle::kept`](crate::DocumentHandle::kept) lists. Then writes the file anew without its
    /// free pages, and empties the write-ahead log: nothing of what was deleted stays in the data
    /// directory, but for what the outbox has. A change stands there until the hub has acknowledged it,
    /// also where a later change deleted what it wrote; those that were never sent join, and then nothing
    /// of it is left.
    ///
    /// Without a purge, what was deleted and is not kept is overwritten with zeros in the file when the
    /// write-ahead log is next moved into it, and stands in that log until it is emptied. Both happen once
    /// nobody has written for a minute, or for a second where the log has 4 MiB or more, and when the client
    /// is shut down. A process that is killed leaves the log to the next one that opens the file and stays
    /// for a second; who writes without any such rest has up to 128 MiB of it.
    ///
    /// Blocks until that is done; nothing is read or written meanwhile. That takes about as long as
    /// copying the file, and as much room on the disk for that time. What clashes at present goes on to
    /// clash, and is logged again when it is touched. A backup or a copy of the file is none of this; nor
    /// are blocks that a disk keeps below the file system.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the entries could not be deleted: nothing more is written then until this
    /// is opened again. [`Error::Read`] where they are, and the file could not be written anew: purge
    /// again.
    pub fn purge(&self) -> Result<(), Error> {
        self.inner.shared.with_store(|state, store| {
            if let Err(failure) = store.forget_kept() {
                return Err(state.fail(failure));
            }
            let names: Vec<String> = state.session.names().map(str::to_owned).collect();
            for name in &names {
                state.session.forget_conflicts(name)?;
                state.histories.purge(name);
                state.session.record(name, store.record_level(name))?;
            }
            store.write_anew().map_err(|failure| Error::Read(Arc::new(failure)))
        })
    }
}
