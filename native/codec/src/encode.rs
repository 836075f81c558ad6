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

/// Bytes of the matrix's rows that are gathered before columns are made of them, or they are written.
const TURN_BYTES: usize = 24 << 20;

/// The bytes of a blob, read by many threads at once.
pub trait Source: Sync {
    /// How many there are.
    fn bytes(&self) -> u64;
    /// Fills `to` with those from `offset` on; so many there are.
    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()>;
}

impl Source for &[u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        to.copy_from_slice(&self[offset..offset + to.len()]);
        Ok(())
    }
}

/// Takes bytes that belong at an offset among all sliver pairs: pair i stands at i × pair_bytes, first
/// primary sliver i, then secondary sliver n−1−i. Called by many threads at once.
pub type Sink<'a> = &'a (dyn Fn(usize, &[u8]) -> io::Result<()> + Sync);

/// Encodes `blob` over `shards` shards into `sink`. Needs memory as `metadata` does.
pub fn encode_to(blob: &dyn Source, shards: usize, sink: Sink<'_>) -> Result<Metadata> {
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
    encode_to(&blob, shards, &|at, bytes| {
        let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
        out[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    })
}

/// Metadata of `blob` over `shards` shards.
pub fn metadata(blob: &[u8], shards: usize) -> Result<Metadata> {
    metadata_of(&blob, shards)
}

/// Metadata of `blob` over `shards` shards. Needs memory for the parity columns, about half as
/// much as the blob has, and 24 MiB.
pub fn metadata_of(blob: &dyn Source, shards: usize) -> Result<Metadata> {
    Encoding::new(blob, shards, None)?.run()
}

struct Encoding<'a> {
    blob: &'a dyn Source,
    shape: Shape,
    sink: Option<Sink<'a>>,
}

impl<'a> Encoding<'a> {
    fn new(blob: &'a dyn Source, shards: usize, sink: Option<Sink<'a>>) -> Result<Self> {
        let shape = Shape::new(blob.bytes(), shards)?;
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

    /// Reads symbols of a row of the source matrix; zeros behind the blob's end.
    fn read(&self, row: usize, column: usize, to: &mut [u8]) -> Result<()> {
        let from = (row * self.shape.shards.secondary + column) * self.shape.symbol;
        let held = (self.shape.size as usize).saturating_sub(from);
        let (bytes, padding) = to.split_at_mut(held.min(to.len()));
        padding.fill(0);
        if bytes.is_empty() {
            return Ok(());
        }
        let read = self.blob.read(from, bytes);
        read.map_err(|error| Error(error.to_string()))
    }

    /// First pass: the parity symbols of every row, into the parity columns; rows are written.
    fn extend_rows(&self, parity: &mut [&mut [u8]]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let bytes = self.shape.sliver_bytes(Axis::Primary);
        let each = strip::width(shards, symbol);
        let strips = shards.primary.div_ceil(each);
        let columns = parity.iter_mut().map(|column| &mut **column);
        across(columns, each * symbol, strips)
            .into_par_iter()
            .enumerate()
            .try_for_each_init(
                || {
                    let strip = Strip::new(&self.shape, shards.secondary, each);
                    (strip, vec![0; each * bytes])
                },
                |(strip, rows), (at, places)| {
                    let held = each.min(shards.primary - at * each);
                    for (row, place) in rows.chunks_exact_mut(bytes).take(held).enumerate() {
                        self.read(at * each + row, 0, place)?;
                        self.write(Axis::Primary, at * each + row, 0, place)?;
                    }
                    for (column, run) in strip.runs_mut().take(shards.secondary).enumerate() {
                        let symbols = rows.chunks_exact(bytes).map(|row| &row[column * symbol..]);
                        for (place, from) in run.chunks_exact_mut(symbol).zip(symbols) {
                            place.copy_from_slice(&from[..symbol]);
                        }
                    }
                    strip.extend();
                    for (place, run) in places.into_iter().zip(strip.runs().skip(shards.secondary))
                    {
                        place.copy_from_slice(&run[..place.len()]);
                    }
                    Ok(())
                },
            )
    }

    /// Second pass: all symbols of every column, their hashes, and the slivers that they belong to.
    fn extend_columns(&self, parity: &[&mut [u8]]) -> Result<Metadata> {
        let Shape { shards, symbol, .. } = self.shape;
        let n = shards.count;
        let each = strip::width(shards, symbol);
        let strips = n.div_ceil(each);
        let mut secondary = vec![EMPTY; n];
        let mut rows = vec![EMPTY; n * strips];
        // Rows as far as some strips take or make them.
        let run = each * symbol;
        let turn = (TURN_BYTES / (n * run)).clamp(1, strips);
        let width = turn * run;
        let beyond = self.sink.map_or(0, |_| n - shards.primary);
        let mut given = vec![0; shards.primary * width];
        let mut beyond = vec![0; beyond * width];
        for first in (0..strips).step_by(turn) {
            let bytes = self.plain_bytes(first * each, width);
            let parts = given.par_chunks_exact_mut(width).enumerate();
            parts.try_for_each(|(row, part)| self.read(row, first * each, &mut part[..bytes]))?;
            let places = across(beyond.chunks_exact_mut(width), run, turn);
            (rows.par_chunks_exact_mut(n), secondary.par_chunks_mut(each))
                .into_par_iter()
                .enumerate()
                .skip(first)
                .zip(places)
                .try_for_each_init(
                    || Strip::new(&self.shape, shards.primary, each),
                    |strip, ((at, (rows, secondary)), places)| {
                        let given = given
                            .chunks_exact(width)
                            .map(|row| &row[(at - first) * run..]);
                        self.fill(strip, at * each, given, parity);
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
            self.write_beyond(first * each, &beyond, width)?;
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

    /// How many of `width` bytes of a row lie in columns of the source matrix, `first` and later ones.
    fn plain_bytes(&self, first: usize, width: usize) -> usize {
        let Shape { shards, symbol, .. } = self.shape;
        width.min(shards.secondary.saturating_sub(first) * symbol)
    }

    /// Writes what columns from `first` on hold of the primary slivers behind the systematic ones.
    fn write_beyond(&self, first: usize, rows: &[u8], width: usize) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let bytes = self.plain_bytes(first, width);
        if bytes == 0 {
            return Ok(());
        }
        let rows = rows.par_chunks_exact(width).enumerate();
        rows.try_for_each(|(at, row)| {
            let index = shards.primary + at;
            self.write(Axis::Primary, index, first * symbol, &row[..bytes])
        })
    }

    /// Puts the symbols of the columns from `first` on into a strip: those of the source matrix are
    /// given row by row.
    fn fill<'b>(
        &self,
        strip: &mut Strip,
        first: usize,
        given: impl Iterator<Item = &'b [u8]>,
        parity: &[&mut [u8]],
    ) {
        let Shape { shards, symbol, .. } = self.shape;
        let plain = self.plain_bytes(first, strip.run);
        let others = &parity[(first + plain / symbol).saturating_sub(shards.secondary)..];
        for (row, (run, given)) in strip.runs_mut().zip(given).enumerate() {
            let (run, rest) = run.split_at_mut(plain);
            run.copy_from_slice(&given[..plain]);
            for (place, column) in rest.chunks_exact_mut(symbol).zip(others) {
                place.copy_from_slice(&column[row * symbol..][..symbol]);
            }
        }
    }
}
