//! Runs `wasm-opt` from the npm package `binaryen`, and keeps its output by its input.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{order, sweep};
use crate::process;
use crate::workspace::Workspace;

/// What to do at first. Code that is taken apart and put together anew is some hundred bytes smaller.
const FIRST: [&str; 4] = ["--flatten", "--rereloop", "-Oz", "--skip-pass=memory-packing"];

/// What to do once text that nothing names is gone: a second round still finds one part in a hundred.
const SECOND: [&str; 2] = ["-Oz", "--skip-pass=memory-packing"];

/// What is done in between, and at last.
const OWN: [&str; 2] = [include_str!("sweep.rs"), include_str!("order.rs")];

/// What holds for both. The features are those that rustc and wasm-bindgen use, one by one: `-all` lets
/// `wasm-opt` write what browsers do not run. The lowest kilobyte is the end of the stack, which Rust's
/// linker puts below all else: no address is less than a field's offset above it.
const FLAGS: [&str; 12] = [
    "--low-memory-unused",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
    "--enable-reference-types",
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-call-indirect-overlong",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-multivalue",
];

/// Optimises a module and returns the path of the result. Parts of its memory that begin at some
/// addresses stay, also where nothing names them.
pub(super) fn run(workspace: &Workspace, wasm: &[u8], kept: &BTreeSet<u32>) -> Result<PathBuf> {
    let binaryen = workspace.package().join("node_modules/binaryen");
    let version = version(&binaryen)?;
    let folder = workspace.cache().join("wasm-opt");
    let key = key(&version, wasm, kept);
    let optimised = folder.join(format!("{key}.opt.wasm"));
    if optimised.is_file() {
        return Ok(optimised);
    }
    fs::create_dir_all(&folder)?;
    let before = folder.join(format!("{key}.wasm"));
    let after = folder.join(format!("{key}.part.wasm"));
    let wasm_opt = |passes: &[&str]| {
        let mut command = process::program("node", &workspace.root);
        command.arg(binaryen.join("bin/wasm-opt")).args(passes).args(FLAGS);
        process::run(command.arg(&before).arg("-o").arg(&after))
    };
    fs::write(&before, wasm)?;
    wasm_opt(&FIRST)?;
    fs::write(&before, sweep::run(&fs::read(&after)?, kept)?)?;
    wasm_opt(&SECOND)?;
    fs::write(&before, order::run(&fs::read(&after)?)?)?;
    fs::rename(&before, &optimised)?;
    fs::remove_file(&after)?;
    Ok(optimised)
}

fn version(binaryen: &Path) -> Result<String> {
    let Ok(manifest) = fs::read_to_string(binaryen.join("package.json")) else {
        bail!("the npm package binaryen is missing: run `cargo xtask setup`");
    };
    let manifest: Value = serde_json::from_str(&manifest)?;
    Ok(manifest["version"].as_str().context("binaryen names no version")?.to_owned())
}

/// A name for the output that changes with all it depends on.
fn key(version: &str, wasm: &[u8], kept: &BTreeSet<u32>) -> String {
    let mut hasher = DefaultHasher::new();
    (version, FIRST, SECOND, FLAGS, OWN, wasm, kept).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn the_key_depends_on_tool_and_input() {
        let of = |version, wasm: &[u8], kept: &[u32]| {
            key(version, wasm, &kept.iter().copied().collect())
        };
        let one = of("132.0.0", b"a", &[1]);
        assert_eq!(one, of("132.0.0", b"a", &[1]));
        for other in
            [of("132.0.0", b"b", &[1]), of("133.0.0", b"a", &[1]), of("132.0.0", b"a", &[])]
        {
            assert_ne!(one, other);
        }
    }
}
