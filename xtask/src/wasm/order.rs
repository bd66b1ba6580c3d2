//! Puts functions that look alike close together. What travels is compressed, and a compressor finds only
//! what it has seen shortly before.
//!
//! It goes from function to function, to the one most of which is known by then. The functions that are
//! called most come first, since small numbers are short. How much each of this counts for is tried.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, FunctionSection, Module};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, Operator, Parser, Payload, TypeRef,
};

/// How much counts for what.
#[derive(Clone, Copy)]
struct Weights {
    /// How many functions come first for being called most.
    first: usize,
    /// The length of what two functions have in common.
    piece_len: usize,
    /// How many bytes back a compressor is taken to see. DEFLATE sees more, but what else is there has to be
    /// found among more.
    seen_len: usize,
    /// What it is worth, in pieces, that a function has the type of the one before it.
    type_worth: f64,
}

/// What is tried. These were found by trial to be of use.
fn tried() -> Vec<Weights> {
    let mut tried = Vec::new();
    for first in [0, 10] {
        for piece_len in [6, 8] {
            for seen_len in [18_000, 22_000, 30_000] {
                for type_worth in [12.0, 20.0, 30.0] {
                    tried.push(Weights { first, piece_len, seen_len, type_worth });
                }
            }
        }
    }
    tried
}

/// The module with its functions in another order: of those that are tried, the one that compresses best.
pub(super) fn run(wasm: &[u8]) -> Result<Vec<u8>> {
    let (imported, functions) = functions(wasm)?;
    let ordered = |weights| -> Result<(u64, Vec<u8>)> {
        let mut module = Module::new();
        let order = order(&functions, weights);
        Reorder::new(imported, order).parse_core_module(&mut module, Parser::new(0), wasm)?;
        let module = module.finish();
        Ok((compressed_len(&module)?, module))
    };
    let tried = tried();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let all = thread::scope(|scope| {
        let parts = tried.chunks(tried.len().div_ceil(threads));
        let parts: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().map(|one| ordered(*one)).collect::<Vec<_>>()))
            .collect();
        let all = parts.into_iter().flat_map(|part| part.join().unwrap_or_default());
        all.collect::<Result<Vec<_>>>()
    })?;
    // The first of them, where several are best.
    let best = all.into_iter().min_by_key(|(len, _)| *len);
    best.map(|(_, module)| module).context("an order was tried")
}

/// The bytes of a module as it travels.
fn compressed_len(module: &[u8]) -> Result<u64> {
    let mut to = DeflateEncoder::new(io::sink(), Compression::best());
    to.write_all(module)?;
    to.try_finish()?;
    Ok(to.total_out())
}

/// What is asked about a function.
#[derive(Clone, Default)]
struct Function<'a> {
    of_type: u32,
    body: &'a [u8],
    calls: usize,
}

/// How many functions are imported, and those that the module has.
fn functions(wasm: &[u8]) -> Result<(usize, Vec<Function<'_>>)> {
    let (mut imported, mut functions, mut bodies) = (0, Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        if let Payload::ImportSection(section) = payload {
            for import in section.into_imports() {
                imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
            }
        } else if let Payload::FunctionSection(section) = payload {
            for of_type in section {
                functions.push(Function { of_type: of_type?, ..Function::default() });
            }
        } else if let Payload::CodeSectionEntry(body) = payload {
            bodies.push(body);
        }
    }
    for (at, body) in bodies.iter().enumerate() {
        functions[at].body = body.as_bytes();
        for operator in body.get_operators_reader()? {
            if let Operator::Call { function_index: number } = operator?
                && let Some(called) = (number as usize).checked_sub(imported)
            {
                functions[called].calls += 1;
            }
        }
    }
    Ok((imported, functions))
}

/// The places of functions, in the order in which they should stand.
fn order(functions: &[Function<'_>], weights: Weights) -> Vec<usize> {
    let mut left: Vec<usize> = (0..functions.len()).collect();
    left.sort_by_key(|place| Reverse(functions[*place].calls));
    let mut seen = Seen::new(functions, weights);
    for place in left.drain(..functions.len().min(weights.first)) {
        seen.push(place);
    }
    left.sort_unstable();
    while let Some(next) = (0..left.len()).max_by(|one, other| {
        let by_worth = seen.worth(left[*one]).total_cmp(&seen.worth(left[*other]));
        by_worth.then(other.cmp(one))
    }) {
        seen.push(left.remove(next));
    }
    seen.order
}

/// What a compressor has seen after some functions.
struct Seen<'a> {
    functions: &'a [Function<'a>],
    weights: Weights,
    /// The pieces of each function.
    pieces: Vec<Vec<usize>>,
    /// The functions that have a piece.
    holders: Vec<Vec<usize>>,
    /// How often each piece is within sight.
    counts: Vec<usize>,
    /// How many pieces of each function are within sight.
    known: Vec<usize>,
    order: Vec<usize>,
    /// From where on in `order` functions are within sight, and how many bytes these have.
    from: usize,
    len: usize,
}

impl<'a> Seen<'a> {
    fn new(functions: &'a [Function<'a>], weights: Weights) -> Self {
        let mut numbers = HashMap::new();
        let (mut pieces, mut holders): (Vec<Vec<usize>>, Vec<Vec<usize>>) = Default::default();
        for (place, function) in functions.iter().enumerate() {
            let mut own = Vec::new();
            for piece in function.body.windows(weights.piece_len) {
                let number = *numbers.entry(piece).or_insert(holders.len());
                holders.resize(numbers.len(), Vec::new());
                if holders[number].last() != Some(&place) {
                    holders[number].push(place);
                    own.push(number);
                }
            }
            pieces.push(own);
        }
        let (counts, known) = (vec![0; holders.len()], vec![0; functions.len()]);
        let (order, from, len) = (Vec::new(), 0, 0);
        Self { functions, weights, pieces, holders, counts, known, order, from, len }
    }

    /// How much of a function is known.
    fn worth(&self, place: usize) -> f64 {
        let of_type = |place: usize| self.functions[place].of_type;
        let goes_on = self.order.last().is_some_and(|last| of_type(*last) == of_type(place));
        let known = self.known[place] as f64 + if goes_on { self.weights.type_worth } else { 0.0 };
        (known + 1.0) / (self.pieces[place].len() as f64 + 8.0)
    }

    fn push(&mut self, place: usize) {
        self.order.push(place);
        self.len += self.functions[place].body.len();
        for piece in &self.pieces[place] {
            self.counts[*piece] += 1;
            if self.counts[*piece] == 1 {
                self.holders[*piece].iter().for_each(|holder| self.known[*holder] += 1);
            }
        }
        while self.len > self.weights.seen_len && self.from + 1 < self.order.len() {
            self.forget(self.order[self.from]);
            self.from += 1;
        }
    }

    fn forget(&mut self, place: usize) {
        self.len -= self.functions[place].body.len();
        for piece in &self.pieces[place] {
            self.counts[*piece] -= 1;
            if self.counts[*piece] == 0 {
                self.holders[*piece].iter().for_each(|holder| self.known[*holder] -= 1);
            }
        }
    }
}

/// Writes a module anew.
struct Reorder {
    order: Vec<usize>,
    /// The new number of each function, by its old one.
    numbers: Vec<u32>,
}

impl Reorder {
    fn new(imported: usize, order: Vec<usize>) -> Self {
        let mut numbers: Vec<u32> = (0..imported as u32).collect();
        numbers.resize(imported + order.len(), 0);
        for (new, old) in (imported as u32..).zip(&order) {
            numbers[imported + old] = new;
        }
        Self { order, numbers }
    }
}

type Parsed<T> = Result<T, reencode::Error<Infallible>>;

impl Reencode for Reorder {
    type Error = Infallible;

    fn function_index(&mut self, number: u32) -> Parsed<u32> {
        Ok(self.numbers[number as usize])
    }

    fn parse_function_section(
        &mut self,
        to: &mut FunctionSection,
        from: FunctionSectionReader<'_>,
    ) -> Parsed<()> {
        let types = from.into_iter().collect::<Result<Vec<_>, _>>()?;
        for place in &self.order {
            to.function(types[*place]);
        }
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        to: &mut CodeSection,
        from: CodeSectionReader<'_>,
    ) -> Parsed<()> {
        let bodies = from.into_iter().collect::<Result<Vec<FunctionBody<'_>>, _>>()?;
        for place in self.order.clone() {
            self.parse_function_body(to, bodies[place].clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use walrus::{ElementItems, ExportItem, Module};

    use super::{Function, Seen, Weights, order, run};
    use crate::wasm::sweep::tests::{module, named};

    #[test]
    fn a_number_of_a_function_leads_to_the_same_one() {
        // Each names a number of its own, and calls the one before it or none.
        let functions = (0..50).map(|place| (place, (place as usize % 7).checked_sub(1)));
        let wasm = module(&functions.collect::<Vec<_>>(), &[]);
        let ordered = run(&wasm).unwrap();
        assert_ne!(ordered, wasm);
        assert_eq!(named(&ordered), named(&wasm));
        let exported = |wasm| {
            let module = Module::from_buffer(wasm).unwrap();
            let ElementItems::Functions(table) =
                module.elements.iter().next().unwrap().items.clone()
            else {
                panic!("the table lists functions")
            };
            let export = module.exports.iter().next().unwrap().item;
            table
                .iter()
                .position(|id| matches!(export, ExportItem::Function(exported) if exported == *id))
        };
        assert_eq!(exported(&ordered), Some(49));
    }

    const FIRST: usize = 20;
    const SEEN_LEN: usize = 20_000;
    const WEIGHTS: Weights =
        Weights { first: FIRST, piece_len: 6, seen_len: SEEN_LEN, type_worth: 10.0 };

    fn function(of_type: u32, body: &[u8]) -> Function<'_> {
        Function { of_type, body, calls: 0 }
    }

    #[test]
    fn what_is_called_most_comes_first_and_then_what_looks_alike() {
        let bodies = [b"one of a kind", b"two of a kind", b"quite another"];
        let mut functions: Vec<_> = (0..FIRST).map(|_| function(0, b"quite another")).collect();
        functions.extend([0, 2, 1, 2, 0].map(|kind| function(0, bodies[kind])));
        functions.push(Function { calls: 2, ..function(0, b"called") });
        functions.iter_mut().take(FIRST - 1).for_each(|function| function.calls = 1);
        let mut expected = vec![FIRST + 5];
        expected.extend(0..FIRST - 1);
        // What is known, then what is not, and what that makes known.
        expected.extend([FIRST - 1, FIRST + 1, FIRST + 3, FIRST, FIRST + 4, FIRST + 2]);
        assert_eq!(order(&functions, WEIGHTS), expected);
    }

    #[test]
    fn the_type_counts_and_what_is_out_of_sight_does_not() {
        let long = vec![0; SEEN_LEN];
        let functions = [function(0, b"a kind"), function(1, b"a kind"), function(1, &long)];
        let mut seen = Seen::new(&functions, WEIGHTS);
        let unknown = seen.worth(1);
        seen.push(0);
        assert!(seen.worth(1) > unknown);
        seen.push(2);
        let of_type = seen.worth(1);
        assert!(unknown < of_type && seen.worth(0) == unknown);
    }
}
