//! Takes out of the module's memory what nothing names: mostly what only panics would have said, and
//! where they stand in source files.
//!
//! The linker leaves each constant in a part of its own. A part is in use where its address, or one
//! within it, stands among the instructions or in another part that is in use. What may be a table stays
//! where an address shortly before it is named: its first item may not be the one of number zero.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context, Result};
use walrus::ir::{Load, Store, Value, Visitor, dfs_in_order};
use walrus::{ConstExpr, DataId, DataKind, GlobalKind, MemoryId, Module, ModuleConfig};

/// How far before a table an address may stand that names it. Arbitrary: a few items.
const TABLE_BYTES: u32 = 64;

/// The module with this cleared, and its memory in one part.
pub(super) fn run(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    let mut named = Named::default();
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut named, function, function.entry_block());
    }
    for global in module.globals.iter() {
        if let GlobalKind::Local(ConstExpr::Value(value)) = &global.kind {
            named.visit_value(value);
        }
    }
    let (ids, mut parts, memory) = parts(&module)?;
    clear(&mut parts, &named.addresses);
    ids.into_iter().for_each(|id| module.data.delete(id));
    let whole = whole(&parts).context("no part of memory is filled")?;
    let offset = ConstExpr::Value(Value::I32(whole.start.cast_signed()));
    module.data.add(DataKind::Active { memory, offset }, whole.bytes);
    Ok(module.emit_wasm())
}

/// The addresses among instructions.
#[derive(Default)]
struct Named {
    addresses: BTreeSet<u32>,
}

impl<'a> Visitor<'a> for Named {
    fn visit_value(&mut self, value: &Value) {
        if let Value::I32(address) = value {
            self.addresses.insert(address.cast_unsigned());
        }
    }

    fn visit_load(&mut self, load: &Load) {
        self.addresses.extend(u32::try_from(load.arg.offset));
    }

    fn visit_store(&mut self, store: &Store) {
        self.addresses.extend(u32::try_from(store.arg.offset));
    }
}

/// What memory is filled with from an address on.
struct Part {
    start: u32,
    bytes: Vec<u8>,
}

impl Part {
    fn range(&self) -> Range<u32> {
        self.start..self.start + self.bytes.len() as u32
    }

    fn words(&self) -> impl Iterator<Item = u32> {
        self.bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word))
    }

    /// Whether it is text, or pieces of text with a byte between them that says what stands there.
    fn is_text(&self) -> bool {
        let printed = self.bytes.iter().filter(|byte| matches!(byte, b' '..=b'~' | b'\n'));
        !self.bytes.is_empty() && printed.count() >= self.bytes.len() / 4 * 3
    }
}

fn parts(module: &Module) -> Result<(Vec<DataId>, Vec<Part>, MemoryId)> {
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    for data in module.data.iter() {
        if let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = data.kind {
            ids.push(data.id());
            parts.push(Part { start: start.cast_unsigned(), bytes: data.value.clone() });
        }
    }
    parts.sort_by_key(|part| part.start);
    let memory = module.memories.iter().next().context("the module has no memory")?.id();
    Ok((ids, parts, memory))
}

/// Clears the parts that stand for nothing, given the addresses among instructions.
fn clear(parts: &mut [Part], named: &BTreeSet<u32>) {
    let mut used = vec![false; parts.len()];
    let mut waiting: Vec<u32> = named.iter().copied().collect();
    while let Some(address) = waiting.pop() {
        let at = parts.partition_point(|part| part.range().end <= address);
        if parts.get(at).is_some_and(|part| part.start <= address) && !used[at] {
            used[at] = true;
            waiting.extend(parts[at].words());
        }
    }
    let texts: BTreeSet<_> =
        parts.iter().filter(|part| part.is_text()).map(|part| part.start).collect();
    for (part, is_used) in parts.iter_mut().zip(used) {
        // A place is the address and the length of the file's name, a line and a column.
        let is_place =
            part.bytes.len() == 16 && part.words().next().is_some_and(|name| texts.contains(&name));
        let before = part.start.saturating_sub(TABLE_BYTES)..part.start;
        let is_apart = named.range(before).next().is_none();
        if !is_used && (is_place || part.is_text() || is_apart) {
            part.bytes.fill(0);
        }
    }
}

/// All parts as one.
fn whole(parts: &[Part]) -> Option<Part> {
    let start = parts.first()?.start;
    let mut bytes = Vec::new();
    for part in parts {
        bytes.resize((part.start - start) as usize, 0);
        bytes.extend_from_slice(&part.bytes);
    }
    Some(Part { start, bytes })
}

#[cfg(test)]
mod tests {
    use super::{Part, clear, whole};

    #[test]
    fn what_nothing_names_is_cleared_but_for_tables_near_what_is_named() {
        let part = |start, bytes: &[u8]| Part { start, bytes: bytes.to_vec() };
        let words = |start, words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            Part { start, bytes: bytes.collect() }
        };
        let mut parts = vec![
            part(1000, b"used"),
            part(1004, b"named"),
            part(1009, b"\x06unused"),
            part(1016, b"a.rs"),
            // A table in use, one that is not, and two places.
            words(1020, &[1005, 0, 0]),
            words(1032, &[1009, 1, 2]),
            words(1044, &[1016, 4, 3, 9]),
            words(1060, &[1016, 4, 5, 9]),
            words(1200, &[1, 2]),
        ];
        let mut expected = whole(&parts).unwrap().bytes;
        clear(&mut parts, &[999, 1002, 1020, 1060].into());
        for cleared in [9..16, 44..60, 200..208] {
            expected[cleared].fill(0);
        }
        let after = whole(&parts).unwrap();
        assert_eq!((after.start, after.bytes), (1000, expected));
    }
}
