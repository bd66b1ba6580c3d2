//! A disk under SQLite that fails on purpose: it loses its power, does not sync, is full, writes by
//! halves. For tests only; nothing that is published depends on it.
//!
//! [`Disk::mount`] puts one under a folder. From then on every SQLite file that this process opens
//! there goes through a VFS that has become SQLite's default one, so that what is tested needs no hook.
//! The files are real ones, and hold what a running system would see. What would be left of them
//! without power is known beside: [`Disk::restart`] leaves exactly that.
//!
//! What survives is what the contract of SQLite's VFS leaves open. What was synced is there. Of what was
//! not, each sector of 512 bytes is as it was at some moment since the last sync, each at one of its own,
//! so writes are lost, torn and reordered; the length of the file is as it was at another. A name that was
//! made or deleted is as it was before or after until its folder is synced. A sync that fails leaves what
//! it was for as it happens to be, and later syncs do not bring it to the disk either, as Linux has it.
//!
//! What a program does to its files without SQLite is not seen: a rename counts as durable.

mod campaign;
mod disk;
mod image;
mod random;
mod vfs;

pub use campaign::Campaign;
pub use disk::{Calls, Disk, Fault, Syncs};
pub use random::Random;

/// A folder for a disk, in memory where the system has that: what it syncs itself, besides SQLite, then
/// waits for nothing.
///
/// # Panics
///
/// When the system gives none.
#[must_use]
pub fn folder() -> tempfile::TempDir {
    let in_memory = tempfile::TempDir::new_in("/dev/shm");
    in_memory.or_else(|_| tempfile::TempDir::new()).expect("the system gives a folder")
}
