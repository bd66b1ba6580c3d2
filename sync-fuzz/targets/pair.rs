//! See `sync_fuzz::pair`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sync_fuzz::pair(bytes));
