//! Takes the words of panics out of the module: nobody hears them there.
//!
//! The standard library has no output in a browser, so what a panic says is lost, and what follows is
//! the trap that ends the instance. Here its functions that panic trap at once, what only panics print
//! prints nothing, and the optimiser drops what was made ready for them. It is what the panic strategy
//! `immediate-abort` does, which no stable compiler has.

use std::collections::HashSet;
use std::ops::Range;

use anyhow::{Result, bail};
use walrus::ir::{
    Call, Const, Instr, InstrLocId, InstrSeq, Unreachable, Value, Visitor, dfs_in_order,
};
use walrus::{ConstExpr, Data, DataKind, FunctionId, FunctionKind, LocalFunction, Module};

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
    let mut silenced = HashSet::new();
    for function in module.funcs.iter_mut() {
        let id = function.id();
        let (Some(name), FunctionKind::Local(body)) = (&function.name, &mut function.kind) else {
            continue;
        };
        // Without the hash that a name ends with, and the number of a copy.
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let name = name.trim_end_matches(|end: char| end == '.' || end.is_ascii_digit());
        if panics(name) || name.starts_with(DEBUG_HELPER) {
            replace(body, Unreachable {});
            silenced.insert(id);
        } else if name.ends_with(DEBUG) {
            // What stands for `Ok`.
            replace(body, Const { value: Value::I32(0) });
        }
    }
    if silenced.is_empty() {
        bail!("no function of the WASM module is known to panic: do they have other names?");
    }
    let mut places = Places { silenced, found: Vec::new() };
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut places, function, function.entry_block());
    }
    let parts: Vec<_> = module.data.iter().map(Data::id).collect();
    for part in parts {
        let data = module.data.get_mut(part);
        if let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = data.kind {
            forget(&mut data.value, start, &places.found);
        }
    }
    Ok(())
}

/// Where in memory it stands from where silenced functions are called: their last argument.
struct Places {
    silenced: HashSet<FunctionId>,
    found: Vec<i32>,
}

impl<'a> Visitor<'a> for Places {
    fn start_instr_seq(&mut self, sequence: &'a InstrSeq) {
        for pair in sequence.instrs.windows(2) {
            if let (Instr::Const(Const { value: Value::I32(at) }), Instr::Call(Call { func })) =
                (&pair[0].0, &pair[1].0)
                && self.silenced.contains(func)
            {
                self.found.push(*at);
            }
        }
    }
}

/// Clears places in source files, and the names of these files. What looks like no place stays.
fn forget(bytes: &mut [u8], start: i32, places: &[i32]) {
    let ranges: Vec<_> = places.iter().filter_map(|place| ranges(bytes, start, *place)).collect();
    ranges.into_iter().flatten().for_each(|range| bytes[range].fill(0));
}

/// Where a place stands among bytes that lie from an address on, and where the name of its file: a place
/// is the address and the length of the name, a line and a column.
fn ranges(bytes: &[u8], start: i32, place: i32) -> Option<[Range<usize>; 2]> {
    let within = |address: i32| usize::try_from(address.checked_sub(start)?).ok();
    let place = within(place)?;
    let place = place..place.checked_add(16)?;
    let word =
        |at: usize| Some(i32::from_le_bytes(bytes.get(place.clone())?[at..][..4].try_into().ok()?));
    let name = within(word(0)?)?;
    let name = name..name.checked_add(usize::try_from(word(4)?).ok()?)?;
    bytes.get(name.clone())?.ends_with(b".rs").then_some([place, name])
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
    use super::{forget, panics};

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

    #[test]
    fn places_are_cleared_and_nothing_else() {
        let place = |name: i32, len: i32| [name, len, 7, 9].map(i32::to_le_bytes).concat();
        // Two places in one file, and what only looks like a place: its name is none.
        let parts = [&place(148, 4), &place(148, 4), &place(152, 3), &b"a.rsabc"[..]];
        let mut bytes = parts.concat();
        forget(&mut bytes, 100, &[100, 116, 132, 150, -1, i32::MAX]);
        assert_eq!(bytes, [&[0; 32][..], &place(152, 3), &[0; 4], b"abc"].concat());
    }
}
