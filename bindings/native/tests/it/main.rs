//! The header, and what the README says of programs in C.

#[cfg(test)]
mod header;
