//! See `sync_fuzz::decoders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sync_fuzz::decoders(bytes));
