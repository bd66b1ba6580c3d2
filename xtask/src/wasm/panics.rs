//! Takes the words of panics out of the module: nobody hears them there.
//!
//! The standard library has no output in a browser, so what a panic says is lost, and what follows is
//! the trap that ends the instance. Here its functions that panic trap at once, what only panics print
//! prints nothing, and the optimiser drops what was made ready for them. It is what the panic strategy
//! `immediate-abort` does, which no stable compiler has.

use anyhow::{Result, bail};
use walrus::ir::{Const, Instr, InstrLocId, Unreachable, Value};
use walrus::{FunctionKind, LocalFunction, Module};

/// How the names of the standard library's functions begin.
const LIBRARIES: [&str; 3] = ["core::", "alloc::", "std::"];

/// The last part of the names of those that never return, or how it ends.
const ENDS: [&str; 11] = [
    "panic",
    "panic_fmt",
    "panic_bounds_check",
    "panic_on_ord_violation",
    "panic_already_borrowed",
    "panic_already_mutably_borrowed",
    "capacity_overflow",
    "handle_alloc_error",
    "handle_error",
    "_fail",
    "_failed",
];

/// How the names of functions end that print what only panics show.
const DEBUG: &str = " as core::fmt::Debug>::fmt";

/// How the names begin of what helps these.
const DEBUG_HELPER: &str = "<core::fmt::builders::";

/// Lets every function of the standard library that panics trap in place of saying why.
pub(super) fn silence(module: &mut Module) -> Result<()> {
    let mut silenced = 0;
    for function in module.funcs.iter_mut() {
        let (Some(name), FunctionKind::Local(body)) = (&function.name, &mut function.kind) else {
            continue;
        };
        // Without the hash that a name ends with, and the number of a copy.
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let name = name.trim_end_matches(|end: char| end == '.' || end.is_ascii_digit());
        if panics(name) || name.starts_with(DEBUG_HELPER) {
            replace(body, Unreachable {});
            silenced += 1;
        } else if name.ends_with(DEBUG) {
            // What stands for `Ok`.
            replace(body, Const { value: Value::I32(0) });
        }
    }
    if silenced == 0 {
        bail!("no function of the WASM module is known to panic: do they have other names?");
    }
    Ok(())
}

fn replace(body: &mut LocalFunction, instruction: impl Into<Instr>) {
    let entry = body.entry_block();
    body.block_mut(entry).instrs = vec![(instruction.into(), InstrLocId::default())];
}

/// Whether a demangled name is of a function of the standard library that panics.
fn panics(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    let plain = name.split("::<").next().unwrap_or(name);
    let last = plain.rsplit("::").next().unwrap_or(plain);
    LIBRARIES.iter().any(|library| name.starts_with(library))
        && (name.contains("::panic_const::")
            || ENDS.iter().any(|end| last == *end || end.starts_with('_') && last.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::panics;

    #[test]
    fn only_what_panics_in_the_standard_library_is_silenced() {
        for name in [
            "core::panicking::panic_fmt",
            "core::panicking::panic_const::panic_const_add_overflow",
            "core::panicking::assert_failed::<usize, usize>",
            "core::slice::index::slice_index_fail",
            "<alloc::vec::Vec<_, _>>::remove::assert_failed",
            "alloc::raw_vec::handle_error",
        ] {
            assert!(panics(name), "{name}");
        }
        for name in [
            "core::fmt::write",
            "sync_core::panicking::panic",
            "wasm_bindgen::__wbindgen_throw",
            "alloc::vec::Vec<T,A>::remove",
            "std::alloc::System::alloc",
        ] {
            assert!(!panics(name), "{name}");
        }
    }
}
