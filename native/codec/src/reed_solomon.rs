//! One-dimensional Reed–Solomon over GF(2^16): extending k symbols to n, and back.
//!
//! The code works on every 64-byte block of a symbol by itself (a shorter last block has a layout
//! of its own), so long symbols are cut into slices that keep the transform in the processor's
//! cache, and symbols of many slivers with the same losses are restored in one go.

use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::error::{Error, Result, ensure};

const BLOCK: usize = 64;
/// Bytes of all symbols that are transformed together; about a processor's second-level cache.
const WORKING_SET: usize = 512 * 1024;

fn slice_bytes(count: usize) -> usize {
    (WORKING_SET / count.next_power_of_two() / BLOCK).max(1) * BLOCK
}

/// Extends `source` symbols to `count`, again and again, for one length of symbol.
pub(crate) struct Expander {
    encoder: ReedSolomonEncoder,
    source: usize,
    recovery: usize,
    symbol: usize,
    slice: usize,
}

impl Expander {
    pub(crate) fn new(source: usize, count: usize, symbol: usize) -> Result<Self> {
        let recovery = count - source;
        let slice = slice_bytes(count).min(symbol);
        let encoder = ReedSolomonEncoder::new(source, recovery, slice).map_err(refused)?;
        Ok(Self {
            encoder,
            source,
            recovery,
            symbol,
            slice,
        })
    }

    /// Writes the symbols beyond the source to `out`, one every `pitch` bytes, at the end of each.
    pub(crate) fn recovery(&mut self, source: &[u8], out: &mut [u8], pitch: usize) -> Result<()> {
        let lead = pitch - self.symbol;
        for from in (0..self.symbol).step_by(self.slice) {
            let to = (from + self.slice).min(self.symbol);
            self.encoder
                .reset(self.source, self.recovery, to - from)
                .map_err(refused)?;
            for symbol in source.chunks_exact(self.symbol) {
                self.encoder
                    .add_original_shard(&symbol[from..to])
                    .map_err(refused)?;
            }
            let encoded = self.encoder.encode().map_err(refused)?;
            for (record, piece) in out.chunks_exact_mut(pitch).zip(encoded.recovery_iter()) {
                record[lead + from..lead + to].copy_from_slice(piece);
            }
        }
        Ok(())
    }

    /// Writes all symbols to `leaves`, each behind one byte that is left as it is.
    pub(crate) fn leaves(&mut self, source: &[u8], leaves: &mut [u8]) -> Result<()> {
        let pitch = self.symbol + 1;
        let (systematic, recovery) = leaves.split_at_mut(self.source * pitch);
        for (record, symbol) in systematic
            .chunks_exact_mut(pitch)
            .zip(source.chunks_exact(self.symbol))
        {
            record[1..].copy_from_slice(symbol);
        }
        self.recovery(source, recovery, pitch)
    }
}

fn refused(error: reed_solomon_simd::Error) -> Error {
    Error(format!("Reed-Solomon: {error}"))
}

/// Symbols at known positions of an extended sequence; `data` of all have one length.
#[derive(Debug, Clone, Copy)]
pub struct Indexed<'a> {
    /// Position, 0 to n−1.
    pub index: usize,
    /// A symbol, or a sliver of symbols.
    pub data: &'a [u8],
}

/// Restores runs of symbols that share their positions: `data` of each input is a sliver of many
/// symbols, and symbol t of every one belongs to sequence t.
pub(crate) struct Restorer<'a> {
    source: usize,
    count: usize,
    symbol: usize,
    known: &'a [Indexed<'a>],
    /// Symbols restored at once.
    pub(crate) batch: usize,
}

impl<'a> Restorer<'a> {
    /// `known` are exactly `source` inputs with distinct indexes below `count`.
    pub(crate) fn new(
        source: usize,
        count: usize,
        symbol: usize,
        known: &'a [Indexed<'a>],
    ) -> Self {
        // Finding the positions' polynomial costs as much as transforming some KiB of symbols.
        let slice = (4 * slice_bytes(count)).max(4096);
        Self {
            source,
            count,
            symbol,
            known,
            batch: (slice / symbol.next_multiple_of(BLOCK)).max(1),
        }
    }

    /// The symbols `from..to` of each of the source positions `wanted` that is not among the
    /// known, one behind the other, in the order of `wanted`.
    pub(crate) fn restore(&self, from: usize, to: usize, wanted: &[usize]) -> Result<Vec<u8>> {
        let padded = self.symbol.next_multiple_of(BLOCK) * (to - from);
        let recovery = self.count - self.source;
        let mut decoder =
            ReedSolomonDecoder::new(self.source, recovery, padded).map_err(refused)?;
        let mut shard = vec![0; padded];
        for known in self.known {
            let run = &known.data[from * self.symbol..to * self.symbol];
            spread(run, self.symbol, &mut shard);
            match known.index.checked_sub(self.source) {
                None => decoder.add_original_shard(known.index, &shard),
                Some(index) => decoder.add_recovery_shard(index, &shard),
            }
            .map_err(refused)?;
        }
        let decoded = decoder.decode().map_err(refused)?;
        let bytes = (to - from) * self.symbol;
        let mut out = vec![0; bytes * wanted.len()];
        for (run, index) in out.chunks_exact_mut(bytes).zip(wanted) {
            let shard = decoded
                .restored_original(*index)
                .ok_or_else(|| Error(format!("symbol {index} is not among the restored")))?;
            gather(shard, self.symbol, run);
        }
        Ok(out)
    }
}

/// Puts symbols one behind the other, each filled up to whole blocks. A short last block keeps the
/// low bytes of its elements in its first half and the high bytes in its second.
fn spread(run: &[u8], symbol: usize, shard: &mut [u8]) {
    let whole = symbol / BLOCK * BLOCK;
    let half = (symbol - whole) / 2;
    for (from, to) in run
        .chunks_exact(symbol)
        .zip(shard.chunks_exact_mut(symbol.next_multiple_of(BLOCK)))
    {
        to[..whole].copy_from_slice(&from[..whole]);
        if half > 0 {
            let middle = whole + BLOCK / 2;
            to[whole..whole + half].copy_from_slice(&from[whole..whole + half]);
            to[middle..middle + half].copy_from_slice(&from[whole + half..]);
        }
    }
}

/// The reverse of `spread`.
fn gather(shard: &[u8], symbol: usize, run: &mut [u8]) {
    let whole = symbol / BLOCK * BLOCK;
    let half = (symbol - whole) / 2;
    for (to, from) in run
        .chunks_exact_mut(symbol)
        .zip(shard.chunks_exact(symbol.next_multiple_of(BLOCK)))
    {
        to[..whole].copy_from_slice(&from[..whole]);
        if half > 0 {
            let middle = whole + BLOCK / 2;
            to[whole..whole + half].copy_from_slice(&from[whole..whole + half]);
            to[whole + half..].copy_from_slice(&from[middle..middle + half]);
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
