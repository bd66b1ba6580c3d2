//! Generates the JavaScript beside the module, with wasm-bindgen as a library: its version is the
//! one in `Cargo.lock`, so there is no tool to install that could differ.

use std::path::Path;

use anyhow::{Context, Result, bail};
use walrus::Module;
use wasm_bindgen_cli_support::Bindgen;

use super::panics;

/// The stem of the generated files.
pub(super) const NAME: &str = "sync_wasm";

/// The module and its JavaScript.
pub(super) struct Bound {
    pub(super) wasm: Vec<u8>,
    pub(super) glue: String,
    pub(super) types: String,
}

/// Generates module, glue and types, and checks that the module asks for nothing but its glue.
pub(super) fn run(compiled: &Path) -> Result<Bound> {
    let mut output = Bindgen::new()
        .input_path(compiled)
        .out_name(NAME)
        .web(true)?
        .typescript(true)
        // Names are told from their mangled form.
        .demangle(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen")?;
    let imports = output.wasm().imports.iter();
    let foreign = foreign(imports.map(|import| (import.module.as_str(), import.name.as_str())));
    if !foreign.is_empty() {
        bail!(
            "the WASM module imports what no browser has: {}\n\
             A dependency of sync-wasm expects an operating system; find it with `cargo tree -p sync-wasm`",
            foreign.join(", ")
        );
    }
    panics::silence(output.wasm_mut())?;
    let mut glue = output.js().to_owned();
    shorten(output.wasm_mut(), &mut glue)?;
    Ok(Bound {
        glue,
        types: output.ts().context("wasm-bindgen made no types")?.to_owned(),
        wasm: output.wasm_mut().emit_wasm(),
    })
}

/// The imports that the glue does not provide, such as anything from `env`.
fn foreign<'a>(imports: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let own = format!("./{NAME}_bg.js");
    imports
        .filter(|(module, _)| *module != own && *module != "wbg")
        .map(|(module, name)| format!("{module}.{name}"))
        .collect()
}

/// Gives what the glue provides short names: those of wasm-bindgen are half a kilobyte that does not
/// compress.
fn shorten(module: &mut Module, glue: &mut String) -> Result<()> {
    for (at, import) in module.imports.iter_mut().enumerate() {
        let (long, short) = (format!("{}: ", import.name), format!("i{at}"));
        if glue.matches(&long).count() != 1 {
            bail!("the glue does not provide `{}` once", import.name);
        }
        *glue = glue.replace(&long, &format!("{short}: "));
        import.name = short;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::foreign;

    #[test]
    fn imports_from_outside_the_glue_are_named() {
        let imports = [("./sync_wasm_bg.js", "__wbg_a"), ("env", "time"), ("wbg", "b")];
        assert_eq!(foreign(imports.into_iter()), ["env.time"]);
    }
}
