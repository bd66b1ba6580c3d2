//! See `sync_fuzz::peers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sync_fuzz::peers(bytes));
