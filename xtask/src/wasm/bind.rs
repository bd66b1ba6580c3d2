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
    forget_addresses(output.wasm_mut());
    let mut glue = output.js().to_owned();
    let mut types = output.ts().context("wasm-bindgen made no types")?.to_owned();
    shorten(output.wasm_mut(), &mut glue, &mut types)?;
    Ok(Bound { glue, types, wasm: output.wasm_mut().emit_wasm() })
}

/// Takes out the list of where addresses stand, which holds for the module as it was linked.
fn forget_addresses(module: &mut Module) {
    let is_of_linker = |name: &str| name == "linking" || name.starts_with("reloc.");
    let customs = module.customs.iter().filter(|(_, custom)| is_of_linker(custom.name()));
    let found: Vec<_> = customs.map(|(id, _)| id).collect();
    for id in found {
        module.customs.delete(id);
    }
}

/// The imports that the glue does not provide, such as anything from `env`.
fn foreign<'a>(imports: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let own = format!("./{NAME}_bg.js");
    imports
        .filter(|(module, _)| *module != own && *module != "wbg")
        .map(|(module, name)| format!("{module}.{name}"))
        .collect()
}

/// Gives what the module and its glue have of each other short names: those of wasm-bindgen are a
/// kilobyte that hardly compresses.
fn shorten(module: &mut Module, glue: &mut String, types: &mut String) -> Result<()> {
    for (at, import) in module.imports.iter_mut().enumerate() {
        let (long, short) = (format!("{}: ", import.name), format!("i{at}"));
        if glue.matches(&long).count() != 1 {
            bail!("the glue does not provide `{}` once", import.name);
        }
        *glue = glue.replace(&long, &format!("{short}: "));
        import.name = short;
    }
    for (at, export) in module.exports.iter_mut().enumerate() {
        let short = format!("e{at}");
        let renamed = renamed(glue, &format!("wasm.{}", export.name), &format!("wasm.{short}"));
        // What the glue does not use is of interest to nobody, but may be to a reader of its types.
        if renamed != *glue {
            *glue = renamed;
            *types = self::renamed(
                types,
                &format!("readonly {}", export.name),
                &format!("readonly {short}"),
            );
            export.name = short;
        }
    }
    Ok(())
}

/// A text with a word in place of another one.
fn renamed(text: &str, long: &str, short: &str) -> String {
    let mut parts = text.split(long);
    let mut renamed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_word = !part.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        renamed += if is_word { short } else { long };
        renamed += part;
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::{foreign, renamed};

    #[test]
    fn only_whole_words_are_renamed() {
        let text = "wasm.get(1); wasm.get_all(2); wasm.get;";
        assert_eq!(renamed(text, "wasm.get", "wasm.e0"), "wasm.e0(1); wasm.get_all(2); wasm.e0;");
    }

    #[test]
    fn imports_from_outside_the_glue_are_named() {
        let imports = [("./sync_wasm_bg.js", "__wbg_a"), ("env", "time"), ("wbg", "b")];
        assert_eq!(foreign(imports.into_iter()), ["env.time"]);
    }
}
