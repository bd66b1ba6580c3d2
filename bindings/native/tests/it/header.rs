//! The header is what cbindgen makes of this crate.

use std::path::Path;
use std::{env, fs};

/// Set to write the header in place of looking at it: `cargo xtask header`.
const WRITE: &str = "SYNC_WRITE_HEADER";

#[test]
fn the_header_is_what_the_crate_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::generate_with_config(folder, config).unwrap();
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).unwrap();
    let header = folder.join("include/sync_native.h");
    if env::var_os(WRITE).is_some() {
        fs::write(&header, &made).unwrap();
    }
    let committed = fs::read_to_string(&header).unwrap();
    let differs = committed.lines().zip(made.lines()).find(|(committed, made)| committed != made);
    assert!(
        committed == made,
        "run `cargo xtask header`; the first lines that differ: {differs:?}"
    );
}
