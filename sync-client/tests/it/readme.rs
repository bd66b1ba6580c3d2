//! The lines of Rust in the README are those of an example, and it runs.

use std::process::Command;

use crate::notes::example;

#[test]
fn the_lines_of_the_readme_run() {
    let readme = include_str!("../../../README.md");
    let source = include_str!("../../examples/quickstart.rs");
    let (_, lines) = source.split_once("\n\n").unwrap();
    let block = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(block, Some(lines));

    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(example("quickstart")).arg(folder.path().join("data")).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let printed = String::from_utf8(run.stdout).unwrap();
    assert!(printed.ends_with(" Buy oat milk\n") && printed.lines().count() == 1, "{printed}");
}
