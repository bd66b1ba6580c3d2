//! The fuzz targets over the inputs that are kept: those that reach most, and those that once failed.

#![allow(clippy::unwrap_used, reason = "in a test, what is not expected is a failure")]

use std::fs;
use std::path::Path;

use sync_fuzz::TARGETS;

/// The most bytes of all inputs together.
const CORPUS_BYTES_MAX: u64 = 300 * 1024;

#[test]
fn every_target_passes_over_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes_in_all = 0;
    for (name, run) in TARGETS {
        let mut count = 0;
        for file in fs::read_dir(corpus.join(name)).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            bytes_in_all += bytes.len() as u64;
            count += 1;
            println!("{}", path.display());
            run(&bytes);
        }
        assert!(count >= 20, "{name} has {count} inputs");
    }
    assert!(bytes_in_all <= CORPUS_BYTES_MAX, "{bytes_in_all} bytes of inputs");
}
