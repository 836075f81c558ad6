//! From a blob to its sliver pairs and metadata.
//!
//! Two passes over the matrix, in strips of some rows or columns that fit a processor's cache and are
//! shared out to the rayon pool in use: rows are extended to the parity columns; then columns are
//! extended to n symbols, which are hashed while they are at hand. A strip's hashes are folded into
//! one node a row, so the n² hashes never exist together.

use std::io;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::error::{Error, Result, ensure};
use crate::merkle::{self, EMPTY};
use crate::metadata::{Metadata, PairHashes};
use crate::shape::{Axis, Shape};
use crate::strip::{self, Strip, across};

/// Bytes of the primary slivers that are gathered before they are written.
const TURN_BYTES: usize = 16 << 20;

/// Takes bytes that belong at an offset among all sliver pairs: pair i stands at i × pair_bytes, first
/// primary sliver i, then secondary sliver n−1−i. Called by many threads at once.
pub type Sink<'a> = &'a (dyn Fn(usize, &[u8]) -> io::Result<()> + Sync);

/// Encodes `blob` over `shards` shards into `sink`. Needs memory as `metadata` does, and 16 MiB.
pub fn encode_to(blob: &[u8], shards: usize, sink: Sink<'_>) -> Result<Metadata> {
    Encoding::new(blob, shards, Some(sink))?.run()
}

/// Encodes `blob` over `shards` shards into `out`, of exactly `Shape::slivers_bytes`, laid out as a
/// `Sink` is told.
pub fn encode(blob: &[u8], shards: usize, out: &mut [u8]) -> Result<Metadata> {
    let room = Shape::new(blob.len() as u64, shards)?.slivers_bytes();
    ensure(out.len() == room, || {
        format!("{} bytes of room for {room} of slivers", out.len())
    })?;
    let out = Mutex::new(out);
    encode_to(blob, shards, &|at, bytes| {
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        out[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    })
}

/// Metadata of `blob` over `shards` shards. Needs memory for the parity columns, about half as
/// much as the blob has.
pub fn metadata(blob: &[u8], shards: usize) -> Result<Metadata> {
    Encoding::new(blob, shards, None)?.run()
}

struct Encoding<'a> {
    blob: &'a [u8],
    shape: Shape,
    sink: Option<Sink<'a>>,
}

impl<'a> Encoding<'a> {
    fn new(blob: &'a [u8], shards: usize, sink: Option<Sink<'a>>) -> Result<Self> {
        let shape = Shape::new(blob.len() as u64, shards)?;
        Ok(Self { blob, shape, sink })
    }

    fn run(&self) -> Result<Metadata> {
        let Shape { shards, .. } = self.shape;
        let column = self.shape.sliver_bytes(Axis::Secondary);
        let mut parity = vec![0; column * (shards.count - shards.secondary)];
        let mut parity: Vec<_> = parity.chunks_exact_mut(column).collect();
        self.extend_rows(&mut parity)?;
        self.extend_columns(&parity)
    }

    /// Writes bytes from `offset` on of a sliver, if they are to be written.
    fn write(&self, axis: Axis, index: usize, offset: usize, bytes: &[u8]) -> Result<()> {
        let Some(sink) = self.sink else { return Ok(()) };
        let pair = self.shape.shards.pair(axis, index) * self.shape.pair_bytes();
        let sliver = match axis {
            Axis::Primary => pair,
            Axis::Secondary => pair + self.shape.sliver_bytes(Axis::Primary),
        };
        sink(sliver + offset, bytes).map_err(|error| Error(error.to_string()))
    }

    /// Copies symbols of a row of the source matrix; zeros behind the blob's end.
    fn copy(&self, row: usize, column: usize, to: &mut [u8]) {
        let from = (row * self.shape.shards.secondary + column) * self.shape.symbol;
        let held = self.blob.get(from..).unwrap_or_default();
        let (bytes, padding) = to.split_at_mut(held.len().min(to.len()));
        bytes.copy_from_slice(&held[..bytes.len()]);
        padding.fill(0);
    }

    /// First pass: the parity symbols of every row, into the parity columns; rows are written.
    fn extend_rows(&self, parity: &mut [&mut [u8]]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let each = strip::width(shards, symbol);
        let strips = shards.primary.div_ceil(each);
        let columns = parity.iter_mut().map(|column| &mut **column);
        across(columns, each * symbol, strips)
            .into_par_iter()
            .enumerate()
            .try_for_each_init(
                || Strip::new(&self.shape, shards.secondary, each),
                |strip, (at, places)| {
                    for (column, run) in strip.runs_mut().take(shards.secondary).enumerate() {
                        for (row, place) in run.chunks_exact_mut(symbol).enumerate() {
                            self.copy(at * each + row, column, place);
                        }
                    }
                    strip.extend();
                    for (place, run) in places.into_iter().zip(strip.runs().skip(shards.secondary))
                    {
                        place.copy_from_slice(&run[..place.len()]);
                    }
                    (at * each..shards.primary.min((at + 1) * each))
                        .try_for_each(|row| self.write_row(row))
                },
            )
    }

    /// Writes the primary sliver that is a row of the source matrix.
    fn write_row(&self, row: usize) -> Result<()> {
        let bytes = self.shape.sliver_bytes(Axis::Primary);
        match self.blob.get(row * bytes..(row + 1) * bytes) {
            Some(held) => self.write(Axis::Primary, row, 0, held),
            None => {
                let mut padded = vec![0; bytes];
                self.copy(row, 0, &mut padded);
                self.write(Axis::Primary, row, 0, &padded)
            }
        }
    }

    /// Second pass: all symbols of every column, their hashes, and the slivers that they belong to.
    fn extend_columns(&self, parity: &[&mut [u8]]) -> Result<Metadata> {
        let Shape { shards, symbol, .. } = self.shape;
        let n = shards.count;
        let each = strip::width(shards, symbol);
        let strips = n.div_ceil(each);
        let mut secondary = vec![EMPTY; n];
        let mut rows = vec![EMPTY; n * strips];
        // The primary slivers behind the systematic ones, as far as some strips make them.
        let run = each * symbol;
        let beyond = n - shards.primary;
        let (beyond, turn) = match self.sink {
            Some(_) => (beyond, (TURN_BYTES / (beyond * run)).clamp(1, strips)),
            None => (0, strips),
        };
        let mut wide = vec![0; beyond * turn * run];
        for first in (0..strips).step_by(turn) {
            let places = across(wide.chunks_exact_mut(turn * run), run, turn);
            (rows.par_chunks_exact_mut(n), secondary.par_chunks_mut(each))
                .into_par_iter()
                .enumerate()
                .skip(first)
                .zip(places)
                .try_for_each_init(
                    || Strip::new(&self.shape, shards.primary, each),
                    |strip, ((at, (rows, secondary)), places)| {
                        self.fill(strip, at * each, parity);
                        strip.extend();
                        for (place, run) in
                            places.into_iter().zip(strip.runs().skip(shards.primary))
                        {
                            place.copy_from_slice(run);
                        }
                        let nodes = merkle::leaves(&strip.symbols, symbol);
                        let held = secondary.len();
                        rows.copy_from_slice(&strip::fold(&nodes, each, held, strips));
                        secondary.copy_from_slice(&merkle::roots(nodes, each)[..held]);
                        (at * each..at * each + held)
                            .try_for_each(|column| self.write_column(strip, column, parity))
                    },
                )?;
            self.write_beyond(first * each, &wide, turn * run)?;
        }
        let primary = strip::row_roots(&rows, n);
        let pairs = primary
            .into_iter()
            .zip(secondary.into_iter().rev())
            .map(|(primary, secondary)| PairHashes { primary, secondary })
            .collect();
        Ok(Metadata {
            size: self.shape.size,
            pairs,
        })
    }

    /// Writes the secondary sliver that is a column, one of those in the strip.
    fn write_column(&self, strip: &Strip, column: usize, parity: &[&mut [u8]]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        if self.sink.is_none() {
            return Ok(());
        }
        if let Some(at) = column.checked_sub(shards.secondary) {
            return self.write(Axis::Secondary, column, 0, parity[at]);
        }
        let at = column % (strip.run / symbol) * symbol;
        let mut sliver = Vec::with_capacity(self.shape.sliver_bytes(Axis::Secondary));
        for run in strip.runs().take(shards.primary) {
            sliver.extend_from_slice(&run[at..at + symbol]);
        }
        self.write(Axis::Secondary, column, 0, &sliver)
    }

    /// Writes what columns from `first` on hold of the primary slivers behind the systematic ones.
    fn write_beyond(&self, first: usize, wide: &[u8], run: usize) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let bytes = run.min(shards.secondary.saturating_sub(first) * symbol);
        if bytes == 0 {
            return Ok(());
        }
        let rows = wide.par_chunks_exact(run).enumerate();
        rows.try_for_each(|(at, row)| {
            let index = shards.primary + at;
            self.write(Axis::Primary, index, first * symbol, &row[..bytes])
        })
    }

    /// Puts the given symbols of the columns from `first` on into a strip.
    fn fill(&self, strip: &mut Strip, first: usize, parity: &[&mut [u8]]) {
        let Shape { shards, symbol, .. } = self.shape;
        let each = strip.run / symbol;
        let plain = each.min(shards.secondary.saturating_sub(first));
        let others = &parity[(first + plain).saturating_sub(shards.secondary)..];
        for (row, run) in strip.runs_mut().take(shards.primary).enumerate() {
            let (run, rest) = run.split_at_mut(plain * symbol);
            self.copy(row, first, run);
            for (place, column) in rest.chunks_exact_mut(symbol).zip(others) {
                place.copy_from_slice(&column[row * symbol..][..symbol]);
            }
        }
    }
}
