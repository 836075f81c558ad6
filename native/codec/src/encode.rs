//! From a blob to its sliver pairs and metadata.
//!
//! Two passes over the matrix, in strips of some rows or columns that fit a processor's cache and are
//! shared out to the rayon pool in use: rows are extended to the parity columns; then columns are
//! extended to n symbols, which are hashed while they are at hand. A strip's hashes are folded into
//! one node a row, so the n² hashes never exist together. Parity columns are slivers: where slivers
//! are written, they wait there for the second pass.

use std::io;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::error::{Error, Result, ensure};
use crate::merkle::{self, EMPTY};
use crate::metadata::{Metadata, PairHashes};
use crate::shape::{Axis, Shape};
use crate::spare::Spares;
use crate::strip::{self, Strip, across};

/// Bytes of rows that are gathered before columns are made of them, or of columns before they are written.
const TURN_BYTES: usize = 16 << 20;

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

/// All sliver pairs, used by many threads at once: pair i stands at i × pair_bytes, first primary
/// sliver i, then secondary sliver n−1−i.
pub trait Sink: Sync {
    /// Takes bytes that belong at an offset.
    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()>;
    /// Gives back what was written at an offset.
    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()>;
}

impl Sink for Mutex<&mut [u8]> {
    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut all = self.lock().unwrap_or_else(PoisonError::into_inner);
        all[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        let all = self.lock().unwrap_or_else(PoisonError::into_inner);
        to.copy_from_slice(&all[offset..offset + to.len()]);
        Ok(())
    }
}

/// Encodes `blob` over `shards` shards into `sink`. Needs memory for some strips, and 16 MiB.
pub fn encode_to(blob: &dyn Source, shards: usize, sink: &dyn Sink) -> Result<Metadata> {
    Encoding::new(blob, shards, Some(sink))?.run()
}

/// Encodes `blob` over `shards` shards into `out`, of exactly `Shape::slivers_bytes`, laid out as a
/// `Sink` is told.
pub fn encode(blob: &[u8], shards: usize, out: &mut [u8]) -> Result<Metadata> {
    let room = Shape::new(blob.len() as u64, shards)?.slivers_bytes();
    ensure(out.len() == room, || {
        format!("{} bytes of room for {room} of slivers", out.len())
    })?;
    encode_to(&blob, shards, &Mutex::new(out))
}

/// Metadata of `blob` over `shards` shards.
pub fn metadata(blob: &[u8], shards: usize) -> Result<Metadata> {
    metadata_of(&blob, shards)
}

/// Metadata of `blob` over `shards` shards. Needs memory for the parity columns, about half as
/// much as the blob has, for some strips, and 16 MiB.
pub fn metadata_of(blob: &dyn Source, shards: usize) -> Result<Metadata> {
    Encoding::new(blob, shards, None)?.run()
}

struct Encoding<'a> {
    blob: &'a dyn Source,
    shape: Shape,
    sink: Option<&'a dyn Sink>,
}

impl<'a> Encoding<'a> {
    fn new(blob: &'a dyn Source, shards: usize, sink: Option<&'a dyn Sink>) -> Result<Self> {
        let shape = Shape::new(blob.bytes(), shards)?;
        Ok(Self { blob, shape, sink })
    }

    fn run(&self) -> Result<Metadata> {
        self.extend_columns(&self.extend_rows()?)
    }

    /// Where bytes from `offset` on of a sliver stand among all pairs.
    fn place(&self, axis: Axis, index: usize, offset: usize) -> usize {
        let pair = self.shape.shards.pair(axis, index) * self.shape.pair_bytes();
        match axis {
            Axis::Primary => pair + offset,
            Axis::Secondary => pair + self.shape.sliver_bytes(Axis::Primary) + offset,
        }
    }

    /// Writes bytes from `offset` on of a sliver, if they are to be written.
    fn write(&self, axis: Axis, index: usize, offset: usize, bytes: &[u8]) -> Result<()> {
        let Some(sink) = self.sink else { return Ok(()) };
        let written = sink.write(self.place(axis, index, offset), bytes);
        written.map_err(|error| Error(error.to_string()))
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

    /// First pass: the parity symbols of every row, into the parity columns; rows are written. Answers
    /// the columns if they are not written either.
    fn extend_rows(&self) -> Result<Vec<u8>> {
        let Shape { shards, symbol, .. } = self.shape;
        let bytes = self.shape.sliver_bytes(Axis::Primary);
        let each = strip::width(shards, symbol);
        let strips = shards.primary.div_ceil(each);
        let run = each * symbol;
        let beyond = shards.count - shards.secondary;
        // Columns as far as some strips make them; all of them if nobody takes them.
        let turn = match self.sink {
            Some(_) => (TURN_BYTES / (beyond * run)).clamp(1, strips),
            None => strips,
        };
        let mut parity = vec![0; beyond * turn * run];
        let spares = Spares::new(|| {
            let strip = Strip::new(&self.shape, shards.secondary, each);
            (strip, vec![0; each * bytes])
        });
        for first in (0..strips).step_by(turn) {
            across(parity.chunks_exact_mut(turn * run), run, turn)
                .into_par_iter()
                .enumerate()
                .take(strips - first)
                .try_for_each(|(at, places)| {
                    spares.with(|(strip, rows)| {
                        let row = (first + at) * each;
                        let held = each.min(shards.primary - row);
                        for (at, place) in rows.chunks_exact_mut(bytes).take(held).enumerate() {
                            self.read(row + at, 0, place)?;
                            self.write(Axis::Primary, row + at, 0, place)?;
                        }
                        for (column, run) in strip.runs_mut().take(shards.secondary).enumerate() {
                            let symbols =
                                rows.chunks_exact(bytes).map(|row| &row[column * symbol..]);
                            for (place, from) in run.chunks_exact_mut(symbol).zip(symbols) {
                                place.copy_from_slice(&from[..symbol]);
                            }
                        }
                        strip.extend();
                        let runs = strip.runs().skip(shards.secondary);
                        for (place, run) in places.into_iter().zip(runs) {
                            place.copy_from_slice(run);
                        }
                        Ok(())
                    })
                })?;
            self.write_parity(first * run, &parity, turn * run)?;
        }
        Ok(match self.sink {
            Some(_) => Vec::new(),
            None => parity,
        })
    }

    /// Writes the parity columns from `offset` on, of which `width` bytes each were made.
    fn write_parity(&self, offset: usize, columns: &[u8], width: usize) -> Result<()> {
        let held = width.min(self.shape.sliver_bytes(Axis::Secondary) - offset);
        let columns = columns.par_chunks_exact(width).enumerate();
        columns.try_for_each(|(at, column)| {
            let index = self.shape.shards.secondary + at;
            self.write(Axis::Secondary, index, offset, &column[..held])
        })
    }

    /// Reads a parity column back, from `kept` if it was not written.
    fn read_parity(&self, at: usize, kept: &[u8], to: &mut [u8]) -> Result<()> {
        let shards = self.shape.shards;
        let Some(sink) = self.sink else {
            let width = kept.len() / (shards.count - shards.secondary);
            to.copy_from_slice(&kept[at * width..][..to.len()]);
            return Ok(());
        };
        let place = self.place(Axis::Secondary, shards.secondary + at, 0);
        let read = sink.read(place, to);
        read.map_err(|error| Error(error.to_string()))
    }

    /// Second pass: all symbols of every column, their hashes, and the slivers that they belong to.
    fn extend_columns(&self, parity: &[u8]) -> Result<Metadata> {
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
        let spares = Spares::new(|| {
            let strip = Strip::new(&self.shape, shards.primary, each);
            (strip, vec![0; self.shape.sliver_bytes(Axis::Secondary)])
        });
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
                .try_for_each(|((at, (rows, secondary)), places)| {
                    spares.with(|(strip, column)| {
                        let given = given
                            .chunks_exact(width)
                            .map(|row| &row[(at - first) * run..]);
                        self.fill(strip, at * each, given);
                        self.fill_parity(strip, at * each, parity, column)?;
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
                            .try_for_each(|index| self.write_column(strip, index, column))
                    })
                })?;
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

    /// Writes the secondary sliver that is a column, one of those in the strip, unless it was; `sliver`
    /// is memory to be used.
    fn write_column(&self, strip: &Strip, index: usize, sliver: &mut [u8]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        if self.sink.is_none() || index >= shards.secondary {
            return Ok(());
        }
        let at = index % (strip.run / symbol) * symbol;
        for (place, run) in sliver.chunks_exact_mut(symbol).zip(strip.runs()) {
            place.copy_from_slice(&run[at..at + symbol]);
        }
        self.write(Axis::Secondary, index, 0, sliver)
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

    /// Puts the symbols of the columns from `first` on into a strip, as far as they are of the source
    /// matrix, which is given row by row.
    fn fill<'b>(&self, strip: &mut Strip, first: usize, given: impl Iterator<Item = &'b [u8]>) {
        let plain = self.plain_bytes(first, strip.run);
        for (run, given) in strip.runs_mut().zip(given) {
            run[..plain].copy_from_slice(&given[..plain]);
        }
    }

    /// Puts the symbols of the parity columns among those from `first` on into a strip; `column` is
    /// memory to be used.
    fn fill_parity(
        &self,
        strip: &mut Strip,
        first: usize,
        parity: &[u8],
        column: &mut [u8],
    ) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        for at in (self.plain_bytes(first, strip.run)..strip.run).step_by(symbol) {
            let index = first + at / symbol;
            if index >= shards.count {
                break;
            }
            self.read_parity(index - shards.secondary, parity, column)?;
            for (run, from) in strip.runs_mut().zip(column.chunks_exact(symbol)) {
                run[at..at + symbol].copy_from_slice(from);
            }
        }
        Ok(())
    }
}
