//! A C ABI over `sync-client`: `include/sync_native.h`, which is made of this crate's public items and
//! says all that a program in C has to know.
//!
//! Handles are numbers that look like pointers, found in a table: one that was closed, or never given,
//! is an error and no fault. Records and values are JSON in and out. No panic leaves this crate.

#![allow(clippy::missing_safety_doc, reason = "the head of the header has it, for all functions")]

mod clock;
mod failure;
mod handles;
mod json;
mod pointers;
mod shapes;
mod writes;

// In the order of the header.
pub mod code;

pub mod results;

pub mod tokens;

pub mod clients;

pub mod documents;

pub mod changes;

pub mod receipts;

pub mod events;

pub mod conflicts;

pub mod outbox;

pub mod undo;

pub mod past;

pub mod feed;

pub mod copies;
