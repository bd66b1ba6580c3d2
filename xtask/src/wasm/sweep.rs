//! Takes out of the module's memory what nothing names: mostly what only panics would have said, and
//! where they stand in source files.
//!
//! The linker leaves each constant in a part of its own, and a list of where each address stands. A part
//! is in use where its address, or one within it, stands among the instructions or in another part that
//! is in use. What the compiler ever named by an address beside it stays: a table by an item before its
//! first, or a list by its end.

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use walrus::ir::{Load, Store, Value, Visitor, dfs_in_order};
use walrus::{ConstExpr, DataId, DataKind, GlobalKind, MemoryId, Module, ModuleConfig};
use wasmparser::{
    Data, KnownCustom, Linking, Operator, Parser, Payload, RelocationType, SymbolInfo,
};

/// Where the parts begin that the compiler names by an address beside them, in a module as it is linked.
pub(super) fn named_from_beside(linked: &[u8]) -> Result<BTreeSet<u32>> {
    let (mut parts, mut symbols, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(linked) {
        let payload = payload?;
        if let Payload::DataSection(section) = &payload {
            for data in section.clone() {
                parts.push(range_of(&data?)?);
            }
        }
        let Payload::CustomSection(section) = payload else { continue };
        let known = section.as_known();
        if let KnownCustom::Reloc(list) = &known {
            named.extend(list.entries().into_iter().collect::<Result<Vec<_>, _>>()?);
        }
        let KnownCustom::Linking(linking) = known else { continue };
        for subsection in linking.subsections() {
            if let Linking::SymbolTable(table) = subsection? {
                symbols.extend(table.into_iter().collect::<Result<Vec<_>, _>>()?);
            }
        }
    }
    let mut beside = BTreeSet::new();
    let mut is_listed = false;
    for entry in named {
        if let Some(SymbolInfo::Data { symbol: Some(symbol), .. }) =
            symbols.get(entry.index as usize)
            && is_address(entry.ty)
        {
            let part: &Range<u32> = parts.get(symbol.index as usize).context("no such part")?;
            let within = i64::from(symbol.offset) + entry.addend;
            if !(0..i64::from(part.end - part.start)).contains(&within) {
                beside.insert(part.start);
            }
            is_listed = true;
        }
    }
    ensure!(is_listed, "the linker left no list of where addresses stand");
    Ok(beside)
}

fn range_of(data: &Data<'_>) -> Result<Range<u32>> {
    let wasmparser::DataKind::Active { offset_expr, .. } = &data.kind else {
        bail!("a part of memory has no address")
    };
    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
        bail!("the address of a part of memory is not a number")
    };
    let start = value.cast_unsigned();
    Ok(start..start + u32::try_from(data.data.len())?)
}

fn is_address(relocation: RelocationType) -> bool {
    use RelocationType::{MemoryAddrI32, MemoryAddrLeb, MemoryAddrSleb};
    matches!(relocation, MemoryAddrI32 | MemoryAddrLeb | MemoryAddrSleb)
}

/// The module with what nothing names cleared but for some parts, by where they begin, and its memory in
/// one part.
pub(super) fn run(wasm: &[u8], kept: &BTreeSet<u32>) -> Result<Vec<u8>> {
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
    clear(&mut parts, &named.addresses, kept);
    ids.into_iter().for_each(|id| module.data.delete(id));
    let whole = whole(&parts).context("no part of memory is filled")?;
    let offset = ConstExpr::Value(Value::I32(whole.start.cast_signed()));
    module.data.add(DataKind::Active { memory, offset }, whole.bytes);
    Ok(module.emit_wasm())
}

/// The addresses among instructions. Two numbers may stand as one of twice the size. Instructions of SIMD
/// and atomic ones would have addresses too: the optimiser refuses them.
#[derive(Default)]
struct Named {
    addresses: BTreeSet<u32>,
}

impl<'a> Visitor<'a> for Named {
    fn visit_value(&mut self, value: &Value) {
        let bits = match *value {
            Value::I32(value) => value.cast_unsigned().into(),
            Value::I64(value) => value.cast_unsigned().into(),
            Value::F32(value) => value.to_bits().into(),
            Value::F64(value) => value.to_bits().into(),
            Value::V128(value) => value,
        };
        self.addresses.extend([0, 32, 64, 96].map(|shift| (bits >> shift) as u32));
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
}

fn parts(module: &Module) -> Result<(Vec<DataId>, Vec<Part>, MemoryId)> {
    let (mut ids, mut parts) = (Vec::new(), Vec::new());
    for data in module.data.iter() {
        let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = data.kind else {
            bail!("the address of a part of memory is not a number")
        };
        ids.push(data.id());
        parts.push(Part { start: start.cast_unsigned(), bytes: data.value.clone() });
    }
    parts.sort_by_key(|part| part.start);
    let memory = module.memories.iter().next().context("the module has no memory")?.id();
    Ok((ids, parts, memory))
}

/// Clears the parts that stand for nothing, given the addresses among instructions and where parts begin
/// that stay.
fn clear(parts: &mut [Part], named: &BTreeSet<u32>, kept: &BTreeSet<u32>) {
    let mut used = vec![false; parts.len()];
    let mut waiting: Vec<u32> = named.union(kept).copied().collect();
    while let Some(address) = waiting.pop() {
        let at = parts.partition_point(|part| part.range().end <= address);
        if parts.get(at).is_some_and(|part| part.start <= address) && !used[at] {
            used[at] = true;
            waiting.extend(parts[at].words());
        }
    }
    let unused = parts.iter_mut().zip(used).filter(|(_, is_used)| !is_used);
    unused.for_each(|(part, _)| part.bytes.fill(0));
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
    use walrus::ir::{Value, Visitor};

    use super::{Named, Part, clear, whole};

    #[test]
    fn two_numbers_may_stand_as_one() {
        let mut named = Named::default();
        named.visit_value(&Value::I64(0x19_0010_2039));
        assert!(named.addresses.contains(&0x0010_2039));
    }

    #[test]
    fn what_nothing_names_is_cleared() {
        let part = |start, bytes: &[u8]| Part { start, bytes: bytes.to_vec() };
        let words = |start, words: &[u32]| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            Part { start, bytes: bytes.collect() }
        };
        let mut parts = vec![
            part(1000, b"used"),
            part(1004, b"named"),
            part(1009, b"\x06unused"),
            part(1016, b"kept"),
            // A table in use, one that is not, and one that stays.
            words(1020, &[1005, 0, 0]),
            words(1032, &[1009, 1, 2]),
            words(1044, &[1016, 4, 3, 9]),
        ];
        let mut expected = whole(&parts).unwrap().bytes;
        clear(&mut parts, &[999, 1002, 1020].into(), &[1044].into());
        for cleared in [9..16, 32..44] {
            expected[cleared].fill(0);
        }
        let after = whole(&parts).unwrap();
        assert_eq!((after.start, after.bytes), (1000, expected));
    }
}
