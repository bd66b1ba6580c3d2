//! The arrows inside `sync-core`: a module uses only those to its left.
//!
//! The text is read, not the syntax tree: a path counts wherever it stands outside a comment. Unit
//! tests may use anything, because they are not part of what is built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::report;
use crate::workspace::Workspace;

/// From left to right; each may use those before it.
const ORDER: [&str; 17] = [
    "text",
    "error",
    "zoo",
    "checksum",
    "deflate",
    "sort",
    "small",
    "pack",
    "time",
    "causal",
    "reconcile",
    "snapshot",
    "types",
    "document",
    "alone",
    "wire",
    "session",
];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let source = workspace.root.join("sync-core/src");
    let mut findings = Vec::new();
    for file in rust_files(&source)? {
        let inside = file.strip_prefix(&source)?;
        let text = fs::read_to_string(&file)?;
        for finding in findings_in(inside, &text) {
            findings.push(format!("{}: {finding}", workspace.relative(&file).display()));
        }
    }
    report(findings)
}

/// All Rust files below a folder, in a fixed order.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What is wrong with one file, given its path below `src`.
fn findings_in(inside: &Path, text: &str) -> Vec<String> {
    let segments: Vec<_> = inside
        .with_extension("")
        .components()
        .map(|component| component.as_os_str().to_string_lossy().into_owned())
        .collect();
    let Some(module) = segments.first() else { return Vec::new() };
    // The root and modules for tests stand above the order.
    if module == "lib" || segments.iter().any(|segment| segment == "tests") {
        return Vec::new();
    }
    let Some(rank) = rank(module) else {
        return vec![format!("module `{module}` has no place in the order {ORDER:?}")];
    };
    let code = code_of(text);
    let mut findings = Vec::new();
    for used in used_modules(&code, segments.len()) {
        match self::rank(&used) {
            Some(other) if other > rank => {
                findings.push(format!("`{module}` uses `{used}`, which is to its right"));
            }
            Some(_) => {}
            None => findings.push(format!("`crate::{used}` hides its module: name the module")),
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

/// The text without comments, up to the unit tests.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let tests_follow = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|next| next.trim_start().starts_with("mod "));
        if tests_follow {
            break;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// The first name after each path to the crate's root: `crate::`, or enough `super::`.
///
/// `depth` is 1 for a file directly below `src`.
fn used_modules(code: &str, depth: usize) -> Vec<String> {
    let mut used = Vec::new();
    for (start, _) in code.match_indices("crate::") {
        if !follows_a_name(code, start) {
            used.extend(heads(&code[start + "crate::".len()..]));
        }
    }
    let climb = "super::".repeat(depth);
    for (start, _) in code.match_indices(&climb) {
        // `pub(in super::super)` and longer climbs from inline modules reach no further.
        let after = &code[start + climb.len()..];
        if !follows_a_name(code, start) && !after.starts_with("super::") {
            used.extend(heads(after).into_iter().filter(|name| rank(name).is_some()));
        }
    }
    used
}

fn follows_a_name(code: &str, start: usize) -> bool {
    code[..start]
        .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
}

/// The names that a path goes on with: one, or those of a `{…}` list.
fn heads(after: &str) -> Vec<String> {
    let Some(list) = after.strip_prefix('{') else {
        return name(after).into_iter().collect();
    };
    let mut heads = Vec::new();
    let mut open = 0usize;
    let mut at_start = true;
    for (index, character) in list.char_indices() {
        match character {
            '{' => open += 1,
            '}' if open == 0 => break,
            '}' => open -= 1,
            ',' if open == 0 => at_start = true,
            _ if at_start && open == 0 && !character.is_whitespace() => {
                heads.extend(name(&list[index..]));
                at_start = false;
            }
            _ => {}
        }
    }
    heads
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_');
    let name = &text[..end.unwrap_or(text.len())];
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::findings_in;

    fn check(file: &str, text: &str, expected: &[&str]) {
        assert_eq!(findings_in(Path::new(file), text), expected, "{file}: {text}");
    }

    #[test]
    fn the_left_may_be_used_and_the_right_not() {
        check("wire.rs", "use crate::causal::Dot;", &[]);
        check(
            "causal.rs",
            "use crate::wire::Frame;",
            &["`causal` uses `wire`, which is to its right"],
        );
        check(
            "causal/context.rs",
            "fn f() { crate::session::go() }",
            &["`causal` uses `session`, which is to its right"],
        );
    }

    #[test]
    fn lists_are_read_name_by_name() {
        let text = "use crate::{\n    causal::{Dot, Entry},\n    session::Session,\n};";
        check("types.rs", text, &["`types` uses `session`, which is to its right"]);
    }

    #[test]
    fn climbing_to_the_root_counts() {
        check(
            "types/set.rs",
            "use super::super::wire::x;",
            &["`types` uses `wire`, which is to its right"],
        );
        check("types/set.rs", "use super::wire;", &[]);
        check("error.rs", "use super::time::T;", &["`error` uses `time`, which is to its right"]);
    }

    #[test]
    fn comments_and_unit_tests_are_left_alone() {
        check("time.rs", "//! See [`crate::session`].\n", &[]);
        check("time.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::wire::W;\n}\n", &[]);
        check("time/tests.rs", "use crate::wire::W;", &[]);
    }

    #[test]
    fn unknown_modules_and_hidden_ones_are_named() {
        check(
            "utils.rs",
            "",
            &[
                "module `utils` has no place in the order [\"text\", \"error\", \"zoo\", \"checksum\", \"deflate\", \"sort\", \"small\", \"pack\", \"time\", \"causal\", \"reconcile\", \"snapshot\", \"types\", \"document\", \"alone\", \"wire\", \"session\"]",
            ],
        );
        check("wire.rs", "use crate::Dot;", &["`crate::Dot` hides its module: name the module"]);
    }
}
