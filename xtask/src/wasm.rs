//! Makes the module that browsers and Node load out of the crate `sync-wasm`.
//!
//! Four steps, each in its own file: compile, bind, optimise, inline. After binding panics lose their
//! words, half-way through optimising the module loses what nothing names any more, and after it functions
//! that look alike come together. The module that tests load is the one that ships: nothing here has a
//! mode for tests.

mod bind;
mod compile;
mod inline;
mod optimise;
mod order;
mod panics;
mod sweep;
pub(crate) mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// What was made, and how large it was on the way.
pub(crate) struct Built {
    /// The optimised module.
    pub(crate) module: PathBuf,
    /// Bytes that the compiler wrote.
    pub(crate) compiled_len: usize,
    /// Bytes before optimising.
    pub(crate) bound_len: usize,
    /// Bytes after optimising.
    pub(crate) optimised_len: usize,
    /// The compiler that made it.
    pub(crate) way: toolchain::Way,
}

/// Builds the module and writes it, inlined, among the sources of the npm package.
///
/// Files that would not change are not written, so what is built from them stays fresh.
pub(crate) fn build(workspace: &Workspace) -> Result<Built> {
    let way = toolchain::obtain(workspace)?;
    let compiled = compile::run(workspace, way)?;
    let linked = fs::read(&compiled)?;
    let bound = bind::run(&compiled)?;
    let kept = sweep::named_from_beside(&linked)?;
    let module = optimise::run(workspace, &bound.wasm, &kept)?;
    let optimised = fs::read(&module)?;

    let folder = workspace.package().join("src/wasm");
    fs::create_dir_all(&folder)?;
    let name = bind::NAME;
    let mut changed = write(&folder.join(format!("{name}.js")), bound.glue.as_bytes())?;
    changed |= write(&folder.join(format!("{name}.d.ts")), bound.types.as_bytes())?;
    changed |= write(&folder.join("inline.js"), inline::module(name, &optimised).as_bytes())?;
    changed |= write(&folder.join("inline.d.ts"), inline::types(name).as_bytes())?;
    if changed {
        check_that_it_loads(&folder.join("inline.js"))?;
    }
    Ok(Built {
        module,
        compiled_len: linked.len(),
        bound_len: bound.wasm.len(),
        optimised_len: optimised.len(),
        way,
    })
}

/// Instantiates the module in Node, so that a broken one is named here and not by some test.
fn check_that_it_loads(module: &Path) -> Result<()> {
    let folder = module.parent().context("the module lies in a folder")?;
    // Node would otherwise take the file for CommonJS where no `package.json` says what it is.
    let script = "(await import('./inline.js')).instantiate()";
    process::run(process::program("node", folder).args(["--input-type=module", "--eval", script]))
        .context("the WASM module does not load in Node")
}

/// Writes a file unless it already holds these bytes; tells whether it did.
fn write(file: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(true)
}
