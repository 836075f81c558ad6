//! From enough slivers back to the blob, or to some of its slivers.
//!
//! Slivers are taken as they are: who decodes verifies them before, or the result after.

use rayon::prelude::*;

use crate::error::{Error, Result, ensure};
use crate::reed_solomon::{Indexed, Restorer, choose};
use crate::shape::{Axis, Shape, Shards, valid_symbol};

/// The blob of `size` bytes from slivers of `axis`: any n−2f primary or n−f secondary ones.
pub fn decode(size: u64, shards: usize, axis: Axis, slivers: &[Indexed<'_>]) -> Result<Vec<u8>> {
    let shape = Shape::new(size, shards)?;
    let all: Vec<_> = (0..shape.shards.systematic(axis)).collect();
    let size = usize::try_from(size).map_err(|_| Error("the blob exceeds memory".into()))?;
    let source = Source::new(&shape, axis, slivers)?;
    let mut blob = vec![0; size];
    match axis {
        Axis::Primary => {
            let rows = blob.chunks_mut(shape.sliver_bytes(axis)).collect();
            source.write(&all, rows);
        }
        Axis::Secondary => {
            let columns = source.slivers(&all);
            let symbol = shape.symbol;
            blob.par_chunks_mut(shape.sliver_bytes(Axis::Primary))
                .enumerate()
                .for_each(|(row, bytes)| {
                    for (place, column) in bytes.chunks_mut(symbol).zip(&columns) {
                        place.copy_from_slice(&column[row * symbol..][..place.len()]);
                    }
                });
        }
    }
    Ok(blob)
}

/// Fills places, each as long as a sliver, with systematic primary slivers (indexes below n−2f) from
/// any n−2f.
pub fn recover_primaries(
    size: u64,
    shards: usize,
    slivers: &[Indexed<'_>],
    places: Vec<(usize, &mut [u8])>,
) -> Result<()> {
    let shape = Shape::new(size, shards)?;
    let source = Source::new(&shape, Axis::Primary, slivers)?;
    let (wanted, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
    let primary = shape.shards.primary;
    let mut seen = vec![false; primary];
    for index in &wanted {
        let seen = seen.get_mut(*index).ok_or_else(|| {
            Error(format!(
                "only the {primary} systematic slivers can be wanted"
            ))
        })?;
        ensure(!std::mem::replace(seen, true), || {
            "a sliver is wanted twice".into()
        })?;
    }
    let bytes = shape.sliver_bytes(Axis::Primary);
    ensure(places.iter().all(|place| place.len() == bytes), || {
        format!("a sliver has {bytes} bytes, its place has not")
    })?;
    source.write(&wanted, places);
    Ok(())
}

/// A sliver of `axis` from the symbols that slivers of the other axis have at its place; `index` is
/// that of the sliver that a symbol is from.
pub fn recover_sliver(axis: Axis, shards: usize, symbols: &[Indexed<'_>]) -> Result<Vec<u8>> {
    let symbol = symbols.first().map_or(0, |symbol| symbol.data.len());
    Ok(recover_slivers(axis, shards, symbol, symbols)?.concat())
}

/// Several slivers of `axis` at once: as `recover_sliver`, where each input holds one symbol of
/// `symbol` bytes for every wanted sliver, one behind the other.
pub fn recover_slivers(
    axis: Axis,
    shards: usize,
    symbol: usize,
    symbols: &[Indexed<'_>],
) -> Result<Vec<Vec<u8>>> {
    let shards = Shards::new(shards)?;
    ensure(valid_symbol(symbol), || {
        format!("a symbol cannot be of {symbol} bytes")
    })?;
    let run = symbols.first().map_or(0, |symbols| symbols.data.len());
    ensure(run > 0 && run.is_multiple_of(symbol), || {
        format!("{run} bytes are no symbols of {symbol} bytes")
    })?;
    let systematic = shards.symbols(axis);
    let source = Source {
        known: choose(symbols, systematic, shards.count, run)?,
        systematic,
        count: shards.count,
        symbol,
        symbols: run / symbol,
    };
    let columns = source.slivers(&(0..systematic).collect::<Vec<_>>());
    let row = |at: usize| -> Vec<u8> {
        let symbols = columns
            .iter()
            .map(|column| &column[at * symbol..][..symbol]);
        symbols.collect::<Vec<_>>().concat()
    };
    Ok((0..source.symbols).into_par_iter().map(row).collect())
}

/// Enough slivers of one axis to restore the systematic ones.
struct Source<'a> {
    known: Vec<Indexed<'a>>,
    systematic: usize,
    count: usize,
    symbol: usize,
    /// Symbols of each.
    symbols: usize,
}

impl<'a> Source<'a> {
    fn new(shape: &Shape, axis: Axis, slivers: &[Indexed<'a>]) -> Result<Self> {
        let systematic = shape.shards.systematic(axis);
        Ok(Self {
            known: choose(
                slivers,
                systematic,
                shape.shards.count,
                shape.sliver_bytes(axis),
            )?,
            systematic,
            count: shape.shards.count,
            symbol: shape.symbol,
            symbols: shape.shards.symbols(axis),
        })
    }

    fn slivers(&self, wanted: &[usize]) -> Vec<Vec<u8>> {
        let mut out = vec![vec![0; self.symbol * self.symbols]; wanted.len()];
        self.write(
            wanted,
            out.iter_mut().map(|sliver| &mut sliver[..]).collect(),
        );
        out
    }

    /// Fills `places` with the systematic slivers `wanted`; a place may be shorter than a sliver,
    /// and there may be fewer of them.
    fn write(&self, wanted: &[usize], places: Vec<&mut [u8]>) {
        let mut present = Vec::new();
        let mut missing = Vec::new();
        for (index, place) in wanted.iter().zip(places) {
            match self.known.binary_search_by_key(index, |known| known.index) {
                Ok(at) => present.push((self.known[at].data, place)),
                Err(_) => missing.push((*index, place)),
            }
        }
        present
            .into_par_iter()
            .for_each(|(data, place)| place.copy_from_slice(&data[..place.len()]));
        if !missing.is_empty() {
            self.restore(missing);
        }
    }

    /// Restores slivers into their places, in turns of some symbols of all of them.
    fn restore(&self, places: Vec<(usize, &mut [u8])>) {
        let restorer: Restorer<'_> =
            Restorer::new(self.systematic, self.count, self.symbol, &self.known);
        let each = restorer.each;
        let mut turns: Vec<Vec<_>> = Vec::new();
        turns.resize_with(self.symbols.div_ceil(each), Vec::new);
        for (index, place) in places {
            for (turn, part) in turns.iter_mut().zip(place.chunks_mut(each * self.symbol)) {
                turn.push((index, part));
            }
        }
        turns
            .into_par_iter()
            .enumerate()
            .for_each_init(Vec::new, |work, (turn, mut parts)| {
                restorer.restore(turn * each, &mut parts, work);
            });
    }
}
