//! Prints a golden file: `cargo run -p sync-core --example golden frames.json`. For a new version of
//! the wire only; files of versions that were in use never change.

#[path = "../tests/it/golden_cases.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "shared with the tests, which use the rest"
)]
mod golden_cases;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let files = golden_cases::files();
    match files.get(name.as_str()) {
        Some(file) => println!("{}", serde_json::to_string_pretty(file).unwrap_or_default()),
        None => eprintln!("name one of {:?}", files.keys().collect::<Vec<_>>()),
    }
}
