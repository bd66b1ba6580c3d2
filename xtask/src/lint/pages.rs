//! What the pages name is there: tests by their names, and files and folders.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};

use super::report;
use crate::process;
use crate::workspace::Workspace;

/// The pages that name tests and files.
const PAGES: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

/// Where a path on a page may begin, beside the root.
const FOLDERS: [&str; 6] =
    ["", "sync-core/src/", "sync-client/", "sync-client/src/", "sync-hub/src/", "demo-web/"];

/// A name of so many words is one of a test.
const TEST_WORDS_MIN: usize = 4;

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut list = process::program("git", &workspace.root);
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs"]);
    let files = process::capture(&mut list).context("the list of files comes from git")?;
    let mut functions = BTreeSet::new();
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // One that is deleted, and not yet committed, has none.
        let text = fs::read_to_string(workspace.root.join(file)).unwrap_or_default();
        functions.extend(functions_in(&text).map(str::to_owned));
    }
    let is_there =
        |path: &str| FOLDERS.iter().any(|folder| workspace.root.join(folder).join(path).exists());
    let mut findings = Vec::new();
    for page in PAGES {
        let text = fs::read_to_string(workspace.root.join(page)).context(page)?;
        let missing = missing_in(&text, |name| functions.contains(name), is_there);
        findings.extend(missing.into_iter().map(|name| format!("{page}: there is no `{name}`")));
    }
    report(findings)
}

/// The names of functions.
fn functions_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !is_of_name(letter)).unwrap_or(rest.len());
        &rest[..end]
    })
}

fn is_of_name(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphanumeric()
}

/// Which tests and paths a page names that are not there.
fn missing_in(
    page: &str,
    is_function: impl Fn(&str) -> bool,
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut missing = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
            continue;
        }
        if is_code {
            continue;
        }
        for name in line.split('`').skip(1).step_by(2) {
            if name.chars().all(is_of_name) {
                if name.split('_').count() >= TEST_WORDS_MIN && !is_function(name) {
                    missing.push(name.to_owned());
                }
            } else if name.contains('/') && !name.contains([' ', ':', '<']) {
                missing.extend(expanded(name).into_iter().filter(|path| !is_there(path)));
            }
        }
    }
    missing
}

/// The paths that one with alternatives in braces stands for.
fn expanded(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((inside, after)) = rest.split_once('}') else { return vec![path.to_owned()] };
    inside.split(',').flat_map(|one| expanded(&format!("{before}{one}{after}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{functions_in, missing_in};

    fn missing(page: &str) -> Vec<String> {
        let functions: Vec<_> = functions_in("fn one_that_is_there() {}\nfn a<T>() {}").collect();
        assert_eq!(functions, ["one_that_is_there", "a"]);
        let paths = ["a/b.rs", "a/c.rs"];
        missing_in(page, |name| functions.contains(&name), |path| paths.contains(&path))
    }

    #[test]
    fn tests_and_paths_that_are_not_there_are_found() {
        assert!(missing("`one_that_is_there`, `a/b.rs`, `a/{b,c}.rs`, `wait_disk`").is_empty());
        assert_eq!(missing("| x | `one_that_is_lost` |"), ["one_that_is_lost"]);
        assert_eq!(missing("see `a/{b,d}.rs`"), ["a/d.rs"]);
        assert!(missing("`cargo run a/d`, `http://a/d`").is_empty());
        assert!(missing("```\n`one_that_is_lost`\n```\n").is_empty());
    }
}
