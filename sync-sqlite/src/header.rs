//! The first bytes of an SQLite file, read without SQLite (file format, section 1.3).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a database header.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Where the header has the version that the application gave the schema.
const USER_VERSION_AT: usize = 60;
/// Where the header has the application's id.
const APPLICATION_ID_AT: usize = 68;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file, or one of no bytes.
    Nothing,
    /// Something that SQLite did not write.
    NotADatabase,
    /// An SQLite database.
    Database { application_id: u32, user_version: u32 },
}

/// Looks at a file without changing it.
pub(crate) fn look(path: &Path) -> io::Result<Found> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Found::NotADatabase);
    }
    if metadata.len() == 0 {
        return Ok(Found::Nothing);
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Found::NotADatabase);
        }
        Err(error) => return Err(error),
    }
    if !header.starts_with(MAGIC) {
        return Ok(Found::NotADatabase);
    }
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_be_bytes(bytes)
    };
    Ok(Found::Database {
        application_id: number(APPLICATION_ID_AT),
        user_version: number(USER_VERSION_AT),
    })
}
