//! Prints how large the WASM module is, step by step, and as it travels: gzipped.

use anyhow::{Context, Result};

use crate::process;
use crate::setup::{self, Needs};
use crate::wasm;
use crate::workspace::Workspace;

/// Builds the module and prints its sizes in bytes.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::run(workspace, Needs::package())?;
    let built = wasm::build(workspace)?;
    // Node is here anyway, and its gzip is the one that servers of JavaScript use.
    let script = "const { readFileSync } = require('node:fs');\
                  const { gzipSync } = require('node:zlib');\
                  console.log(gzipSync(readFileSync(process.argv[1]), { level: 9 }).length)";
    let mut node = process::program("node", &workspace.root);
    let printed = process::capture(node.args(["--eval", script]).arg(&built.module))?;
    let gzipped_len: usize = printed.trim().parse().context("size printed by Node")?;
    println!("compiled with {}", built.way);
    for (step, len) in [
        ("compiled", built.compiled_len),
        ("bound", built.bound_len),
        ("optimised", built.optimised_len),
        ("gzipped", gzipped_len),
    ] {
        println!("{step:<10} {len:>9} bytes");
    }
    Ok(())
}
