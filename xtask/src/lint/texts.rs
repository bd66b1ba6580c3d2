//! What the texts of this repository must have, and must not: module heads, no `unsafe` but towards
//! C, and no trace of the machine that they were written on.

use std::fs;

use anyhow::{Context, Result};

use super::report;
use crate::process;
use crate::workspace::Workspace;

/// Folders of one machine, and what package managers write about where they download from. Split,
/// so that this file does not contain what it looks for.
const TRACES: [&str; 8] = [
    concat!("/", "root/"),
    concat!("/", "work/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
    concat!("registry", ".npmjs."),
    concat!("registry", ".yarnpkg."),
    concat!("static", ".crates.io"),
    concat!("index", ".crates.io"),
];

/// Where `unsafe` may be allowed: towards C.
const UNSAFE: [&str; 2] = ["bindings/native/src/", "sync-faults/src/vfs.rs"];

/// Where Cargo.lock may say that crates come from: cargo's own name for crates.io.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    // Also files that are about to be committed.
    let mut list = process::program("git", &workspace.root);
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let files = process::capture(&mut list).context("the list of files comes from git")?;
    let mut findings = Vec::new();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // Deleted and not yet committed, or not a text.
        let Ok(bytes) = fs::read(workspace.root.join(file)) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(findings_in(file, &text));
    }
    report(findings)
}

fn findings_in(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if file.ends_with(".rs") && !text.starts_with("//!") {
        findings.push(format!("{file}: starts without `//!`, a head that says what it is"));
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        for trace in TRACES {
            if line.match_indices(trace).any(|(start, _)| starts_a_path(line, start)) {
                findings.push(format!("{file}:{number}: names `{trace}`"));
            }
        }
        let is_unsafe = line.contains(concat!("allow(", "unsafe_code"));
        if is_unsafe && !UNSAFE.iter().any(|place| file.starts_with(place)) {
            findings.push(format!("{file}:{number}: allows `unsafe`"));
        }
        if file.ends_with("Cargo.lock")
            && line.starts_with("source = ")
            && !line.contains(CRATES_IO)
        {
            findings.push(format!("{file}:{number}: a crate from elsewhere than crates.io"));
        }
        if file.ends_with("package-lock.json")
            && line.trim_start().starts_with("\"resolved\": \"http")
        {
            findings.push(format!("{file}:{number}: names a download address"));
        }
    }
    findings
}

/// Whether an absolute path or a host begins here, and not the middle of a relative path.
fn starts_a_path(line: &str, start: usize) -> bool {
    !line[..start].ends_with(|before: char| before.is_alphanumeric() || "._-".contains(before))
}

#[cfg(test)]
mod tests {
    use super::findings_in;

    #[test]
    fn a_rust_file_needs_a_head() {
        assert_eq!(findings_in("a.rs", "//! A.\n").len(), 0);
        assert_eq!(findings_in("a.rs", "fn a() {}\n").len(), 1);
    }

    #[test]
    fn traces_of_a_machine_are_found() {
        let path = concat!("see /", "home/me/x\n");
        assert_eq!(findings_in("a.md", path).len(), 1);
        assert_eq!(findings_in("a.md", concat!("demo/", "home/x\n")).len(), 0);
    }

    #[test]
    fn unsafe_code_stands_towards_c_only() {
        let text = concat!("//! A.\n\n#![allow(", "unsafe_code)]\n");
        assert_eq!(findings_in("sync-hub/src/a.rs", text).len(), 1);
        assert_eq!(findings_in("bindings/native/src/a.rs", text).len(), 0);
    }

    #[test]
    fn lock_files_name_no_host() {
        let lock = "      \"resolved\": \"https://example.org/a.tgz\",\n";
        assert_eq!(findings_in("a/package-lock.json", lock).len(), 1);
        let link = "      \"resolved\": \"../bindings/js\",\n";
        assert_eq!(findings_in("a/package-lock.json", link).len(), 0);
        let crates = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(findings_in("Cargo.lock", crates).len(), 0);
        assert_eq!(findings_in("Cargo.lock", "source = \"git+https://example.org\"\n").len(), 1);
    }
}
