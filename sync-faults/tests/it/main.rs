//! Plain SQLite on a disk that fails: what it promises holds, and what it does not promise is lost.

#[cfg(test)]
mod sqlite;
