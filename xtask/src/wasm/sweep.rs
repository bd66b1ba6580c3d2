//! Takes out of the module what nothing names: of its memory mostly what only panics would have said, and
//! where they stand in source files; of its table of functions what would have printed that, and what
//! only describes to wasm-bindgen what JavaScript may call.
//!
//! The linker leaves each constant in a part of its own, and a list of where each address stands. A part
//! is in use where its address, or one within it, stands among the instructions of a function that is in
//! use, or in another part that is. What the compiler ever named by an address beside it stays: a table
//! by an item before its first, or a list by its end. A function is in use where it is exported or called,
//! or where its number in the table stands where an address may; the numbers begin at [`TABLE_BASE`].

use std::collections::BTreeSet;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use walrus::ir::{Load, Store, Value, Visitor, dfs_in_order};
use walrus::{
    ConstExpr, DataId, DataKind, ElementId, ElementItems, ElementKind, ExportItem, FunctionBuilder,
    FunctionId, FunctionKind, GlobalKind, MemoryId, Module, ModuleConfig,
};
use wasmparser::{
    Data, KnownCustom, Linking, Operator, Parser, Payload, RelocationType, SymbolInfo,
};

/// The number of the first function in the table: the linker is told so, to tell these numbers from others.
/// Few programs write numbers like it, and one that does keeps a function for nothing.
pub(super) const TABLE_BASE: u32 = 2100;

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

/// The module with what nothing names taken out but for some parts of its memory, by where they begin, and
/// this memory in one part.
pub(super) fn run(wasm: &[u8], kept: &BTreeSet<u32>) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    config.generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    let (ids, mut parts, memory) = parts(&module)?;
    let (list, mut table) = table(&module)?;
    let used = used(&module, &parts, &table, Named::from_outside(&module, kept));
    let unused_parts = parts.iter_mut().zip(used.parts).filter(|(_, is_used)| !is_used);
    unused_parts.for_each(|(part, _)| part.bytes.fill(0));
    let trap = trap(&mut module);
    let uncalled = table.iter_mut().zip(used.listed).filter(|(_, is_used)| !is_used);
    uncalled.for_each(|(function, _)| *function = trap);
    module.elements.get_mut(list).items = ElementItems::Functions(table);
    ids.into_iter().for_each(|id| module.data.delete(id));
    let whole = whole(&parts).context("no part of memory is filled")?;
    let offset = ConstExpr::Value(Value::I32(whole.start.cast_signed()));
    module.data.add(DataKind::Active { memory, offset }, whole.bytes);
    Ok(module.emit_wasm())
}

/// What is named somewhere: numbers that may be addresses or stand in the table of functions, and
/// functions. Instructions of SIMD and atomic ones would have addresses too: the optimiser refuses them.
#[derive(Default)]
struct Named {
    numbers: BTreeSet<u32>,
    functions: Vec<FunctionId>,
}

impl Named {
    /// What is named by who runs the module and by what it is made of, and parts that stay.
    fn from_outside(module: &Module, kept: &BTreeSet<u32>) -> Self {
        let mut named = Self { numbers: kept.clone(), functions: Vec::new() };
        named.functions.extend(module.start);
        for export in module.exports.iter() {
            if let ExportItem::Function(function) = export.item {
                named.functions.push(function);
            }
        }
        for global in module.globals.iter() {
            if let GlobalKind::Local(ConstExpr::Value(value)) = &global.kind {
                named.visit_value(value);
            }
        }
        named
    }

    fn within(module: &Module, function: FunctionId) -> Self {
        let mut named = Self::default();
        if let FunctionKind::Local(function) = &module.funcs.get(function).kind {
            dfs_in_order(&mut named, function, function.entry_block());
        }
        named
    }
}

impl<'a> Visitor<'a> for Named {
    // Two numbers may stand as one of twice the size.
    fn visit_value(&mut self, value: &Value) {
        let bits = match *value {
            Value::I32(value) => value.cast_unsigned().into(),
            Value::I64(value) => value.cast_unsigned().into(),
            Value::F32(value) => value.to_bits().into(),
            Value::F64(value) => value.to_bits().into(),
            Value::V128(value) => value,
        };
        self.numbers.extend([0, 32, 64, 96].map(|shift| (bits >> shift) as u32));
    }

    fn visit_load(&mut self, load: &Load) {
        self.numbers.extend(u32::try_from(load.arg.offset));
    }

    fn visit_store(&mut self, store: &Store) {
        self.numbers.extend(u32::try_from(store.arg.offset));
    }

    fn visit_function_id(&mut self, function: &FunctionId) {
        self.functions.push(*function);
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

    /// Every four bytes as a number, wherever they stand.
    fn words(&self) -> impl Iterator<Item = u32> {
        self.bytes.array_windows().map(|word| u32::from_le_bytes(*word))
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

/// The functions that are called by their numbers, from [`TABLE_BASE`] on.
fn table(module: &Module) -> Result<(ElementId, Vec<FunctionId>)> {
    let mut lists = module.elements.iter();
    let (Some(list), None) = (lists.next(), lists.next()) else {
        bail!("there is not one list of functions")
    };
    let (ElementKind::Active { table, offset }, ElementItems::Functions(functions)) =
        (&list.kind, &list.items)
    else {
        bail!("the list of functions is not of the usual kind")
    };
    let ConstExpr::Value(Value::I32(base)) = offset else { bail!("the list begins anywhere") };
    ensure!(base.cast_unsigned() == TABLE_BASE, "the list of functions begins at {base}");
    let is_exported = |item: &ExportItem| matches!(item, ExportItem::Table(id) if id == table);
    ensure!(
        !module.exports.iter().any(|export| is_exported(&export.item)),
        "JavaScript calls functions by their numbers: which are in use is not known"
    );
    Ok((list.id(), functions.clone()))
}

/// Which parts of memory and which places of the table are in use.
struct Used {
    parts: Vec<bool>,
    listed: Vec<bool>,
}

fn used(module: &Module, parts: &[Part], table: &[FunctionId], named: Named) -> Used {
    let mut used = Used { parts: vec![false; parts.len()], listed: vec![false; table.len()] };
    let mut seen = BTreeSet::new();
    let mut waiting = vec![named];
    while let Some(Named { numbers, mut functions }) = waiting.pop() {
        for number in numbers {
            let listed = number.wrapping_sub(TABLE_BASE) as usize;
            if let Some(function) = table.get(listed) {
                used.listed[listed] = true;
                functions.push(*function);
            }
            let at = parts.partition_point(|part| part.range().end <= number);
            if parts.get(at).is_some_and(|part| part.start <= number) && !used.parts[at] {
                used.parts[at] = true;
                waiting.push(Named { numbers: parts[at].words().collect(), ..Named::default() });
            }
        }
        for function in functions {
            if seen.insert(function) {
                waiting.push(Named::within(module, function));
            }
        }
    }
    used
}

/// A function that traps, in place of those that nobody calls.
fn trap(module: &mut Module) -> FunctionId {
    let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
    builder.func_body().unreachable();
    builder.finish(Vec::new(), &mut module.funcs)
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
pub(super) mod tests {
    use walrus::ir::{Value, Visitor};
    use walrus::{ConstExpr, DataKind, ElementItems, ElementKind, FunctionBuilder, FunctionId};
    use walrus::{Module, RefType};

    use super::{Named, TABLE_BASE, parts, run, table};

    #[test]
    fn two_numbers_may_stand_as_one() {
        let mut named = Named::default();
        named.visit_value(&Value::I64(0x19_0010_2039));
        assert!(named.numbers.contains(&0x0010_2039));
    }

    /// A module of functions that name a number each and may call one before them. All stand in the table,
    /// and the last is exported. Its memory is filled from some addresses on.
    pub(in crate::wasm) fn module(
        functions: &[(u32, Option<usize>)],
        memory: &[(u32, Vec<u8>)],
    ) -> Vec<u8> {
        let mut module = Module::default();
        let mut ids: Vec<FunctionId> = Vec::new();
        for (number, called) in functions {
            let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
            let mut body = builder.func_body();
            body.i32_const(number.cast_signed()).drop();
            called.map(|called: usize| body.call(ids[called]));
            ids.push(builder.finish(Vec::new(), &mut module.funcs));
        }
        module.exports.add("last", *ids.last().unwrap());
        let table = module.tables.add_local(false, 9000, None, RefType::FUNCREF);
        let at = |address: u32| ConstExpr::Value(Value::I32(address.cast_signed()));
        let list = ElementKind::Active { table, offset: at(TABLE_BASE) };
        module.elements.add(list, ElementItems::Functions(ids));
        let id = module.memories.add_local(false, false, 1, None, None);
        for (address, bytes) in memory {
            module.data.add(DataKind::Active { memory: id, offset: at(*address) }, bytes.clone());
        }
        module.emit_wasm()
    }

    /// What each function of a module's table names: a number, and those that the called ones name.
    pub(in crate::wasm) fn named(wasm: &[u8]) -> Vec<(Option<u32>, Vec<Option<u32>>)> {
        let module = Module::from_buffer(wasm).unwrap();
        let number = |id: &FunctionId| Named::within(&module, *id).numbers.pop_last();
        let called = |id: &FunctionId| Named::within(&module, *id).functions;
        let (_, table) = table(&module).unwrap();
        table.iter().map(|id| (number(id), called(id).iter().map(number).collect())).collect()
    }

    /// The module after the step, and what its memory is filled with, from where.
    fn swept(wasm: &[u8], kept: &[u32]) -> (Vec<u8>, u32, Vec<u8>) {
        let swept = run(wasm, &kept.iter().copied().collect()).unwrap();
        let (_, mut parts, _) = parts(&Module::from_buffer(&swept).unwrap()).unwrap();
        let part = parts.remove(0);
        (swept, part.start, part.bytes)
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn parts_of_memory_that_nothing_names_are_cleared() {
        let memory = [
            (1000, b"used".to_vec()),
            (1004, b"named".to_vec()),
            (1009, b"\x06unused".to_vec()),
            (1016, b"kept".to_vec()),
            // A table in use, one that is not, and one that stays.
            (1020, words(&[1005, 0, 0])),
            (1032, words(&[1009, 1, 2])),
            (1044, words(&[1016, 4, 3, 9])),
        ];
        let mut expected = memory.clone().map(|(_, bytes)| bytes).concat();
        for cleared in [9..16, 32..44] {
            expected[cleared].fill(0);
        }
        let wasm = module(&[(999, None), (1002, Some(0)), (1020, Some(1))], &memory);
        let (_, start, bytes) = swept(&wasm, &[1044]);
        assert_eq!((start, bytes), (1000, expected));
    }

    #[test]
    fn functions_that_nothing_names_leave_the_table() {
        let number = |place| TABLE_BASE + place;
        let functions = [
            // By a part of memory, by a function in use, by nothing but a call, and by nothing.
            (7, None),
            (8, None),
            (number(1), None),
            (1012, None),
            (1000, Some(2)),
        ];
        let memory =
            [(1000, words(&[number(0), 5])), (1008, words(&[6])), (1012, words(&[number(3)]))];
        let (swept, _, bytes) = swept(&module(&functions, &memory), &[]);
        assert_eq!(bytes, words(&[number(0), 5, 0, 0]));
        let numbers: Vec<_> = named(&swept).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [Some(7), Some(8), None, None, None]);
    }
}
