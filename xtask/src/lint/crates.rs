//! The arrows between crates, and the purity of the core.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use super::report;
use crate::process;
use crate::workspace::Workspace;

/// Each crate, and the crates of this workspace that it may use outside its tests.
const ARROWS: [(&str, &[&str]); 12] = [
    ("sync-bench", &["sync-core"]),
    ("sync-bench-client", &["sync-client", "sync-core"]),
    ("sync-core", &[]),
    ("sync-sqlite", &[]),
    ("sync-faults", &[]),
    ("sync-client", &["sync-core", "sync-sqlite"]),
    ("sync-fuzz", &["sync-core"]),
    ("sync-hub", &["sync-core", "sync-sqlite"]),
    ("sync-native", &["sync-client"]),
    ("sync-sim", &["sync-core"]),
    ("sync-wasm", &["sync-core"]),
    ("xtask", &[]),
];

/// Crates that do IO, read a clock or draw random bytes: nothing that the core may stand on.
const IMPURE: [&str; 19] = [
    "async-std",
    "axum",
    "chrono",
    "fastrand",
    "getrandom",
    "hyper",
    "js-sys",
    "libc",
    "mio",
    "rand",
    "rusqlite",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tungstenite",
    "wasm-bindgen",
    "web-sys",
    "web-time",
];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut findings = arrows(&workspace.metadata)?;
    let mut tree = process::cargo(&workspace.root);
    tree.args(["tree", "--package=sync-core", "--edges=normal", "--prefix=none", "--format={p}"]);
    findings.extend(impure(&process::capture(&mut tree)?));
    report(findings)
}

/// Dependencies of members on members that the table does not list.
fn arrows(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: BTreeSet<&str> =
        packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            findings.push(format!("crate `{name}` has no place in the arrows of xtask"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().context("a dependency has no name")?;
            let for_tests = dependency["kind"] == "dev";
            if names.contains(used) && !for_tests && !allowed.contains(&used) {
                findings.push(format!("`{name}` must not depend on `{used}`"));
            }
        }
    }
    Ok(findings)
}

/// Impure crates in a list of `name version` lines.
fn impure(tree: &str) -> Vec<String> {
    let used: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    used.into_iter()
        .filter(|name| IMPURE.contains(name))
        .map(|name| format!("`sync-core` stands on `{name}`, which is not pure"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{arrows, impure};

    fn check(name: &str, used: &str, kind: Option<&str>, expected: &[&str]) {
        let metadata = json!({ "packages": [
            { "name": name, "dependencies": [{ "name": used, "kind": kind }] },
            { "name": "sync-hub", "dependencies": [] },
            { "name": "sync-core", "dependencies": [] },
        ]});
        assert_eq!(arrows(&metadata).unwrap(), expected);
    }

    #[test]
    fn arrows_hold_outside_of_tests() {
        check("sync-wasm", "sync-core", None, &[]);
        check("sync-client", "sync-hub", Some("dev"), &[]);
        check("sync-client", "sync-hub", None, &["`sync-client` must not depend on `sync-hub`"]);
        check("sync-new", "serde", None, &["crate `sync-new` has no place in the arrows of xtask"]);
    }

    #[test]
    fn impure_crates_are_found_at_any_depth() {
        let tree = "sync-core v0.1.0\nserde v1.0.0\nrand v0.9.0 (*)\nrand v0.9.0\n";
        assert_eq!(impure(tree), ["`sync-core` stands on `rand`, which is not pure"]);
    }
}
