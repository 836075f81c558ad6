//! From a blob to its sliver pairs and metadata.
//!
//! Two passes over the matrix, in strips of some rows or columns that fit a processor's cache: rows
//! are extended to the parity columns; then columns are extended to n symbols, which are hashed while
//! they are at hand. A strip's hashes are folded into one node a row, so the n² hashes never exist
//! together. Parity columns are slivers: where slivers are written, they wait there for the second pass.
//!
//! What lies across the strips is read and written in pieces as wide as a block of strips. Threads of
//! the rayon pool in use take block after block, each from reading to writing, and wait for nobody
//! but at the end of a pass: the others compute while one writes, so they rarely meet at the file.

use std::sync::{Mutex, PoisonError};
use std::{io, mem};

use rayon::prelude::*;

use crate::error::{Error, Result, ensure};
use crate::merkle::{self, EMPTY};
use crate::metadata::{Metadata, PairHashes};
use crate::shape::{Axis, Shape};
use crate::spare::Spares;
use crate::strip::{self, Strip};

/// Bytes of rows that a thread gathers before it makes columns of them, or of columns before it writes them.
const BLOCK_BYTES: usize = 8 << 20;

/// How many of all `strips`, of `bytes` each, a thread takes at a time: no more than it may hold, and
/// as many turns for each thread.
fn block(strips: usize, bytes: usize) -> usize {
    let threads = rayon::current_num_threads();
    let most = (BLOCK_BYTES / bytes).max(1);
    let blocks = strips.div_ceil(most).next_multiple_of(threads);
    strips.div_ceil(blocks)
}

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

/// Encodes `blob` over `shards` shards into `sink`. Needs memory for a block of each thread, and for some strips.
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
/// much as the blob has, for a block of each thread, and for some strips.
pub fn metadata_of(blob: &dyn Source, shards: usize) -> Result<Metadata> {
    Encoding::new(blob, shards, None)?.run()
}

/// The parity columns, if they are not written: `width` bytes of each from block after block of rows.
struct Parity {
    kept: Vec<Vec<u8>>,
    width: usize,
}

/// Puts runs at `offset` of pieces of `width` bytes.
fn gather<'a>(
    pieces: &mut [u8],
    width: usize,
    offset: usize,
    runs: impl Iterator<Item = &'a [u8]>,
) {
    for (piece, run) in pieces.chunks_exact_mut(width).zip(runs) {
        piece[offset..offset + run.len()].copy_from_slice(run);
    }
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

    /// First pass: the parity symbols of every row, into the parity columns; rows are written.
    fn extend_rows(&self) -> Result<Parity> {
        let Shape { shards, symbol, .. } = self.shape;
        let each = strip::width(shards, symbol);
        let run = each * symbol;
        let beyond = shards.count - shards.secondary;
        let strips = block(shards.primary.div_ceil(each), beyond * run);
        let width = strips * run;
        let spares = Spares::new(|| {
            let strip = Strip::new(&self.shape, shards.secondary, each);
            let rows = vec![0; each * self.shape.sliver_bytes(Axis::Primary)];
            (strip, rows, Vec::new())
        });
        let firsts: Vec<_> = (0..shards.primary).step_by(strips * each).collect();
        let make = |first: usize| {
            spares.with(|(strip, rows, columns)| {
                columns.resize(beyond * width, 0);
                let some = (first..shards.primary).step_by(each).take(strips);
                for (at, row) in some.enumerate() {
                    self.fill_rows(strip, row, rows)?;
                    strip.extend();
                    gather(
                        columns,
                        width,
                        at * run,
                        strip.runs().skip(shards.secondary),
                    );
                }
                self.write_parity(first * symbol, columns, width)?;
                Ok(match self.sink {
                    Some(_) => Vec::new(),
                    None => mem::take(columns),
                })
            })
        };
        let made = firsts.into_par_iter().with_max_len(1).map(make);
        let kept = made.collect::<Result<_>>()?;
        Ok(Parity { kept, width })
    }

    /// Puts the symbols of the rows from `first` on into a strip, as far as they are of the source
    /// matrix, and writes those rows; `rows` is memory to be used.
    fn fill_rows(&self, strip: &mut Strip, first: usize, rows: &mut [u8]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let bytes = self.shape.sliver_bytes(Axis::Primary);
        let slivers = rows.chunks_exact_mut(bytes).zip(first..shards.primary);
        for (sliver, row) in slivers {
            self.read(row, 0, sliver)?;
            self.write(Axis::Primary, row, 0, sliver)?;
        }
        for (column, run) in strip.runs_mut().take(shards.secondary).enumerate() {
            let symbols = rows.chunks_exact(bytes).map(|row| &row[column * symbol..]);
            for (place, from) in run.chunks_exact_mut(symbol).zip(symbols) {
                place.copy_from_slice(&from[..symbol]);
            }
        }
        Ok(())
    }

    /// Writes the parity columns from `offset` on, of which `width` bytes each were made.
    fn write_parity(&self, offset: usize, columns: &[u8], width: usize) -> Result<()> {
        let held = width.min(self.shape.sliver_bytes(Axis::Secondary) - offset);
        for (at, column) in columns.chunks_exact(width).enumerate() {
            let index = self.shape.shards.secondary + at;
            self.write(Axis::Secondary, index, offset, &column[..held])?;
        }
        Ok(())
    }

    /// Reads a parity column back.
    fn read_parity(&self, at: usize, parity: &Parity, to: &mut [u8]) -> Result<()> {
        let Parity { kept, width } = parity;
        let Some(sink) = self.sink else {
            for (part, columns) in to.chunks_mut(*width).zip(kept) {
                part.copy_from_slice(&columns[at * width..][..part.len()]);
            }
            return Ok(());
        };
        let place = self.place(Axis::Secondary, self.shape.shards.secondary + at, 0);
        let read = sink.read(place, to);
        read.map_err(|error| Error(error.to_string()))
    }

    /// Second pass: all symbols of every column, their hashes, and the slivers that they belong to.
    fn extend_columns(&self, parity: &Parity) -> Result<Metadata> {
        let Shape { shards, symbol, .. } = self.shape;
        let n = shards.count;
        let each = strip::width(shards, symbol);
        let strips = n.div_ceil(each);
        let run = each * symbol;
        let block = block(strips, n * run);
        let width = block * run;
        let spares = Spares::new(|| {
            let strip = Strip::new(&self.shape, shards.primary, each);
            let column = vec![0; self.shape.sliver_bytes(Axis::Secondary)];
            let given = vec![0; shards.primary * width];
            let beyond = self.sink.map_or(0, |_| n - shards.primary);
            (strip, column, given, vec![0; beyond * width])
        });
        let mut secondary = vec![EMPTY; n];
        let mut rows = vec![EMPTY; n * strips];
        let roots = secondary.par_chunks_mut(each * block);
        let blocks = rows.par_chunks_mut(n * block).zip(roots).with_max_len(1);
        blocks.enumerate().try_for_each(|(at, (rows, secondary))| {
            spares.with(|(strip, column, given, beyond)| {
                let first = at * block * each;
                let bytes = self.plain_bytes(first, width);
                for (row, part) in given.chunks_exact_mut(width).enumerate() {
                    self.read(row, first, &mut part[..bytes])?;
                }
                let parts = rows.chunks_exact_mut(n).zip(secondary.chunks_mut(each));
                for (at, (rows, secondary)) in parts.enumerate() {
                    let first = first + at * each;
                    let given = given.chunks_exact(width).map(|row| &row[at * run..]);
                    self.fill(strip, first, given);
                    self.fill_parity(strip, first, parity, column)?;
                    strip.extend();
                    gather(beyond, width, at * run, strip.runs().skip(shards.primary));
                    let nodes = merkle::leaves(&strip.symbols, symbol);
                    let held = secondary.len();
                    rows.copy_from_slice(&strip::fold(&nodes, each, held, strips));
                    secondary.copy_from_slice(&merkle::roots(nodes, each)[..held]);
                    for index in first..first + held {
                        self.write_column(strip, index, column)?;
                    }
                }
                self.write_beyond(first, beyond, width)
            })
        })?;
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
        for (at, row) in rows.chunks_exact(width).enumerate() {
            let index = shards.primary + at;
            self.write(Axis::Primary, index, first * symbol, &row[..bytes])?;
        }
        Ok(())
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
        parity: &Parity,
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
