//! Reed–Solomon over many sequences of symbols at once: extending them to n, and restoring them.

use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS, GF_ORDER, GfElement};

use crate::blocks::{Batch, Block, batches};
use crate::code::Code;
use crate::error::{Result, ensure};

/// Bytes that are transformed together; they should stay in a processor's second-level cache.
const WORKING_SET: usize = 384 * 1024;

fn blocks_most(rows: usize) -> usize {
    (WORKING_SET / size_of::<Block>() / rows).max(1)
}

/// Extends symbols to `count`, again and again, several side by side.
pub(crate) struct Expander<E = DefaultEngine> {
    code: Code<E>,
    run: usize,
    batches: Vec<Batch>,
    work: Vec<Block>,
}

impl<E: Engine + Default> Expander<E> {
    /// For `each` symbols of `symbol` bytes side by side.
    pub(crate) fn new(source: usize, count: usize, symbol: usize, each: usize) -> Self {
        let code = Code::new(source, count);
        let rows = code.rows_to_extend();
        let batches = batches(symbol, each, blocks_most(rows));
        let most = batches.iter().map(|batch| batch.blocks).max().unwrap_or(0);
        Self {
            code,
            run: symbol * each,
            batches,
            work: vec![[0; _]; rows * most],
        }
    }

    /// `strip` has a run of symbols for each of the `count` positions; those behind the source are
    /// filled.
    pub(crate) fn extend(&mut self, strip: &mut [u8]) {
        let (source, recovery) = strip.split_at_mut(self.code.source * self.run);
        for batch in &self.batches {
            let work = &mut self.work[..self.code.rows_to_extend() * batch.blocks];
            for (run, row) in source
                .chunks_exact(self.run)
                .zip(work.chunks_exact_mut(batch.blocks))
            {
                batch.spread(run, row);
            }
            self.code.extend(work, batch.blocks);
            for (run, row) in recovery
                .chunks_exact_mut(self.run)
                .zip(work.chunks_exact(batch.blocks))
            {
                batch.gather(row, run);
            }
        }
    }
}

/// Symbols at known positions of an extended sequence; `data` of all have one length.
#[derive(Debug, Clone, Copy)]
pub struct Indexed<'a> {
    /// Position, 0 to n−1.
    pub index: usize,
    /// A symbol, or a sliver of symbols.
    pub data: &'a [u8],
}

/// Restores symbols of many sequences that share their known positions: `data` of each known input
/// is a sliver of many symbols, and symbol t of every one belongs to sequence t.
pub(crate) struct Restorer<'a, E = DefaultEngine> {
    code: Code<E>,
    known: &'a [Indexed<'a>],
    factors: Box<[GfElement; GF_ORDER]>,
    held: Vec<usize>,
    rows: usize,
    symbol: usize,
    /// Symbols restored at once.
    pub(crate) each: usize,
    batches: Vec<Batch>,
}

impl<'a, E: Engine + Default> Restorer<'a, E> {
    /// `known` are exactly `source` inputs with distinct indexes below `count`.
    pub(crate) fn new(
        source: usize,
        count: usize,
        symbol: usize,
        known: &'a [Indexed<'a>],
    ) -> Self {
        let code = Code::new(source, count);
        let held = code.held(known);
        let rows = code.rows_to_restore(&held);
        let most = blocks_most(rows);
        let each = (most * size_of::<Block>() / symbol).max(1);
        Self {
            factors: code.factors(known),
            held,
            rows,
            code,
            known,
            symbol,
            each,
            batches: batches(symbol, each, most),
        }
    }

    /// Restores `each` symbols (or as many as there are) from number `first` on, of the source
    /// positions named with the places, which may end early; `work` is memory to be used again.
    pub(crate) fn restore(
        &self,
        first: usize,
        places: &mut [(usize, &mut [u8])],
        work: &mut Vec<Block>,
    ) {
        let from = first * self.symbol;
        let held = self.known.first().map_or(0, |known| known.data.len()) - from;
        let run = held.min(self.each * self.symbol);
        let few = run / self.symbol;
        let rest;
        let batches = match few == self.each {
            true => &self.batches,
            false => {
                rest = batches(self.symbol, few, blocks_most(self.rows));
                &rest
            }
        };
        let rows = self.rows;
        let wanted = places.iter().map(|(index, _)| self.code.position(*index));
        let last = wanted.max().unwrap_or(0);
        for batch in batches {
            work.clear();
            work.resize(rows * batch.blocks, [0; _]);
            for known in self.known {
                let position = self.code.position(known.index);
                let row = &mut work[position * batch.blocks..][..batch.blocks];
                batch.spread(&known.data[from..from + run], row);
                self.code.engine.mul(row, self.factors[position]);
            }
            self.code.restore(work, batch.blocks, &self.held, last);
            for (index, place) in &mut *places {
                let position = self.code.position(*index);
                let row = &mut work[position * batch.blocks..][..batch.blocks];
                let factor = GF_MODULUS - self.factors[position];
                self.code.engine.mul(row, factor);
                batch.gather(row, place);
            }
        }
    }
}

/// The first `source` of `inputs` with distinct indexes below `count`, systematic ones first
/// (they cost nothing to restore); fails if there are fewer or one is not `bytes` long.
pub(crate) fn choose<'a>(
    inputs: &[Indexed<'a>],
    source: usize,
    count: usize,
    bytes: usize,
) -> Result<Vec<Indexed<'a>>> {
    let mut places: Vec<Option<Indexed<'a>>> = vec![None; count];
    for input in inputs {
        ensure(input.index < count, || {
            format!("index {} is out of range for {count} shards", input.index)
        })?;
        ensure(input.data.len() == bytes, || {
            format!(
                "{} bytes at index {} where {bytes} belong",
                input.data.len(),
                input.index
            )
        })?;
        places[input.index].get_or_insert(*input);
    }
    let chosen: Vec<_> = places.into_iter().flatten().take(source).collect();
    ensure(chosen.len() == source, || {
        format!("{} of the {source} pieces needed are there", chosen.len())
    })?;
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use reed_solomon_simd::engine::NoSimd;

    use super::*;

    const EACH: usize = 5;

    /// Counts of both kinds of slivers, for all ways in which their powers of two compare.
    fn counts() -> impl Strategy<Value = (usize, usize)> {
        let few = [(2, 4), (3, 4), (3, 7), (5, 7), (4, 10), (7, 10), (11, 31)];
        select([&few[..], &[(34, 100), (67, 100), (334, 1000), (667, 1000)]].concat())
    }

    fn extended<E: Engine + Default>(
        source: usize,
        count: usize,
        symbol: usize,
        given: &[u8],
    ) -> Vec<u8> {
        let mut strip = given.to_vec();
        strip.resize(count * EACH * symbol, 0xee);
        Expander::<E>::new(source, count, symbol, EACH).extend(&mut strip);
        strip
    }

    fn restored<E: Engine + Default>(
        (source, count, symbol): (usize, usize, usize),
        known: &[Indexed<'_>],
        missing: &[usize],
    ) -> Vec<Vec<u8>> {
        let restorer = Restorer::<E>::new(source, count, symbol, known);
        let run = EACH * symbol;
        let mut slivers = vec![vec![0xee; run]; missing.len()];
        let mut work = Vec::new();
        for first in (0..EACH).step_by(restorer.each) {
            let part = first * symbol..run.min((first + restorer.each) * symbol);
            let parts = slivers.iter_mut().map(|sliver| &mut sliver[part.clone()]);
            let mut places: Vec<_> = missing.iter().copied().zip(parts).collect();
            restorer.restore(first, &mut places, &mut work);
        }
        slivers
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// The portable engine is what processors without vectors of bytes use.
        #[test]
        fn vectors_and_portable_code_make_what_the_crate_makes(
            (source, count) in counts(),
            symbol in select(vec![2, 6, 30, 62, 64, 66, 76, 302]),
            seed in any::<u64>(),
        ) {
            let byte = |i: usize| (seed.wrapping_mul(2 * i as u64 + 1) >> 40) as u8;
            let given: Vec<u8> = (0..source * EACH * symbol).map(byte).collect();
            let strip = extended::<DefaultEngine>(source, count, symbol, &given);
            prop_assert_eq!(&extended::<NoSimd>(source, count, symbol, &given), &strip);
            let run = EACH * symbol;
            for at in 0..EACH {
                let one = |run: &[u8]| run[at * symbol..(at + 1) * symbol].to_vec();
                let symbols: Vec<_> = strip.chunks_exact(run).map(one).collect();
                let recovery = reed_solomon_simd::encode(source, count - source, &symbols[..source]);
                prop_assert_eq!(&symbols[source..], recovery.unwrap());
            }

            let all: Vec<_> = strip
                .chunks_exact(run)
                .enumerate()
                .map(|(index, data)| Indexed { index, data })
                .collect();
            let mut some = all.clone();
            some.sort_by_key(|symbol| seed.wrapping_mul(2 * symbol.index as u64 + 3).rotate_left(31));
            for known in [&all[count - source..], &some[..source]] {
                let known = choose(known, source, count, run).unwrap();
                let here = |index: &usize| known.iter().all(|known| known.index != *index);
                let missing: Vec<_> = (0..source).filter(here).collect();
                let shape = (source, count, symbol);
                let expected: Vec<_> = missing.iter().map(|index| all[*index].data.to_vec()).collect();
                prop_assert_eq!(&restored::<DefaultEngine>(shape, &known, &missing), &expected);
                prop_assert_eq!(&restored::<NoSimd>(shape, &known, &missing), &expected);
            }
        }
    }
}
