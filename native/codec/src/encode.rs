//! From a blob to its sliver pairs and metadata.
//!
//! Two passes over the matrix, each in blocks that bound the memory and are shared out to the
//! rayon pool in use: rows are extended to the parity columns; then every column is extended to n
//! symbols, which are hashed. A block's hashes are folded into one node a row before the next
//! block starts, so the n² hashes never exist together.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::error::{Result, ensure};
use crate::merkle::{self, Node};
use crate::metadata::{Metadata, PairHashes};
use crate::reed_solomon::Expander;
use crate::shape::{Axis, Shape};

/// Memory for the symbols of one block; a block is never less than two rows or columns.
const BLOCK_BYTES: usize = 32 << 20;
const BLOCK_MOST: usize = 64;

/// Where the symbols go. Without slivers to write, only the parity columns are kept.
struct Targets<'a> {
    /// All primary slivers, or none.
    primary: Vec<&'a mut [u8]>,
    /// Secondary slivers that hold plain bytes, or none.
    systematic: Vec<&'a mut [u8]>,
    /// The other secondary slivers.
    parity: Vec<&'a mut [u8]>,
}

/// Encodes `blob` over `shards` shards into `out`, of exactly `Shape::slivers_bytes`: pair i stands
/// at i × pair_bytes, first primary sliver i, then secondary sliver n−1−i.
pub fn encode(blob: &[u8], shards: usize, out: &mut [u8]) -> Result<Metadata> {
    let shape = Shape::new(blob.len() as u64, shards)?;
    ensure(out.len() == shape.slivers_bytes(), || {
        format!(
            "{} bytes of room for {} of slivers",
            out.len(),
            shape.slivers_bytes()
        )
    })?;
    let (primary, mut secondary): (Vec<_>, Vec<_>) = out
        .chunks_exact_mut(shape.pair_bytes())
        .map(|pair| pair.split_at_mut(shape.sliver_bytes(Axis::Primary)))
        .unzip();
    secondary.reverse();
    let parity = secondary.split_off(shape.shards.secondary);
    let targets = Targets {
        primary,
        systematic: secondary,
        parity,
    };
    Encoding { blob, shape }.run(targets)
}

/// Metadata of `blob` over `shards` shards. Needs memory for the parity columns, about half as
/// much as the blob has.
pub fn metadata(blob: &[u8], shards: usize) -> Result<Metadata> {
    let shape = Shape::new(blob.len() as u64, shards)?;
    let column = shape.sliver_bytes(Axis::Secondary);
    let mut parity = vec![0; column * (shards - shape.shards.secondary)];
    let targets = Targets {
        primary: Vec::new(),
        systematic: Vec::new(),
        parity: parity.chunks_exact_mut(column).collect(),
    };
    Encoding { blob, shape }.run(targets)
}

/// What a worker keeps of one column: all its symbols, each behind the prefix of a leaf.
struct Lane {
    leaves: Vec<u8>,
    hashes: Vec<Node>,
}

struct Encoding<'a> {
    blob: &'a [u8],
    shape: Shape,
}

impl Encoding<'_> {
    fn run(&self, mut targets: Targets<'_>) -> Result<Metadata> {
        targets
            .primary
            .par_iter_mut()
            .take(self.shape.shards.primary)
            .enumerate()
            .for_each(|(row, sliver)| sliver.copy_from_slice(&self.row(row)));
        self.extend_rows(&mut targets.parity)?;
        self.extend_columns(targets)
    }

    /// Row of the source matrix; zeros behind the blob's end.
    fn row(&self, row: usize) -> Cow<'_, [u8]> {
        let bytes = self.shape.sliver_bytes(Axis::Primary);
        let from = (row * bytes).min(self.blob.len());
        let held = &self.blob[from..(from + bytes).min(self.blob.len())];
        if held.len() == bytes {
            return Cow::Borrowed(held);
        }
        let mut padded = held.to_vec();
        padded.resize(bytes, 0);
        Cow::Owned(padded)
    }

    /// Copies a column of the source matrix.
    fn copy_column(&self, column: usize, to: &mut [u8]) {
        let symbol = self.shape.symbol;
        for (row, place) in to.chunks_exact_mut(symbol).enumerate() {
            let from = ((row * self.shape.shards.secondary + column) * symbol).min(self.blob.len());
            let held = &self.blob[from..(from + symbol).min(self.blob.len())];
            let (bytes, padding) = place.split_at_mut(held.len());
            bytes.copy_from_slice(held);
            padding.fill(0);
        }
    }

    /// First pass: the parity symbols of every row, into the parity columns.
    fn extend_rows(&self, parity: &mut [&mut [u8]]) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let row_bytes = parity.len() * symbol;
        let block = (BLOCK_BYTES / row_bytes).clamp(2, BLOCK_MOST);
        let mut lanes = vec![0; row_bytes * block.min(shards.primary)];
        for first in (0..shards.primary).step_by(block) {
            let rows = block.min(shards.primary - first);
            let used = &mut lanes[..rows * row_bytes];
            used.par_chunks_exact_mut(row_bytes)
                .enumerate()
                .try_for_each_init(
                    || Expander::new(shards.secondary, shards.count, symbol),
                    |expander, (lane, out)| {
                        let expander = expander.as_mut().map_err(|e| e.clone())?;
                        expander.recovery(&self.row(first + lane), out, symbol)
                    },
                )?;
            parity
                .par_iter_mut()
                .enumerate()
                .for_each(|(column, sliver)| {
                    let place = &mut sliver[first * symbol..(first + rows) * symbol];
                    for (to, lane) in place
                        .chunks_exact_mut(symbol)
                        .zip(used.chunks_exact(row_bytes))
                    {
                        to.copy_from_slice(&lane[column * symbol..(column + 1) * symbol]);
                    }
                });
        }
        Ok(())
    }

    /// Second pass: all symbols of every column, their hashes, and the primary slivers that hold
    /// no plain bytes.
    fn extend_columns(&self, mut targets: Targets<'_>) -> Result<Metadata> {
        let n = self.shape.shards.count;
        let column_bytes = n * (self.shape.symbol + 1);
        let block = (BLOCK_BYTES / column_bytes).clamp(2, BLOCK_MOST);
        let block = 1 << block.ilog2();
        let width = n.div_ceil(block);
        let mut rows = vec![[0; 32]; n * width];
        let mut secondary = Vec::with_capacity(n);
        let mut lanes: Vec<_> = (0..block.min(n))
            .map(|_| Lane {
                leaves: vec![merkle::LEAF_PREFIX; column_bytes],
                hashes: Vec::new(),
            })
            .collect();
        for first in (0..n).step_by(block) {
            let lanes = &mut lanes[..block.min(n - first)];
            self.hash_columns(first, lanes, &mut targets)?;
            let roots = lanes.par_iter().map(|lane| merkle::root(&lane.hashes));
            secondary.par_extend(roots);
            self.write_primary(first, lanes, &mut targets.primary);
            fold_rows(lanes, block, first / block, width, &mut rows);
        }
        let primary: Vec<_> = rows.par_chunks_exact(width).map(merkle::root).collect();
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

    /// Extends and hashes the columns from `first`, one a lane; writes the systematic ones.
    fn hash_columns(
        &self,
        first: usize,
        lanes: &mut [Lane],
        targets: &mut Targets<'_>,
    ) -> Result<()> {
        let Shape { shards, symbol, .. } = self.shape;
        let parity = &targets.parity;
        let kept = targets.systematic.len();
        let last = (first + lanes.len()).min(kept);
        let mut places: Vec<Option<&mut [u8]>> = targets.systematic[first.min(kept)..last]
            .iter_mut()
            .map(|sliver| Some(&mut **sliver))
            .collect();
        places.resize_with(lanes.len(), || None);
        let worker = || {
            let expander = Expander::new(shards.primary, shards.count, symbol);
            (expander, vec![0; shards.primary * symbol])
        };
        lanes
            .par_iter_mut()
            .zip(places)
            .enumerate()
            .try_for_each_init(worker, |(expander, scratch), (at, (lane, place))| {
                let expander = expander.as_mut().map_err(|e| e.clone())?;
                let column = first + at;
                let source = match column.checked_sub(shards.secondary) {
                    Some(index) => &*parity[index],
                    None => {
                        let place = place.unwrap_or(scratch);
                        self.copy_column(column, place);
                        place
                    }
                };
                expander.leaves(source, &mut lane.leaves)?;
                lane.hashes = merkle::hash_records(&lane.leaves, symbol + 1);
                Ok(())
            })
    }

    /// Copies what the columns from `first` extended to into the primary slivers.
    fn write_primary(&self, first: usize, lanes: &[Lane], primary: &mut [&mut [u8]]) {
        let Shape { shards, symbol, .. } = self.shape;
        let columns = lanes.len().min(shards.secondary.saturating_sub(first));
        if columns == 0 {
            return;
        }
        primary
            .par_iter_mut()
            .enumerate()
            .skip(shards.primary)
            .for_each(|(row, sliver)| {
                let place = &mut sliver[first * symbol..(first + columns) * symbol];
                let at = row * (symbol + 1) + 1;
                for (to, lane) in place.chunks_exact_mut(symbol).zip(lanes) {
                    to.copy_from_slice(&lane.leaves[at..at + symbol]);
                }
            });
    }
}

/// Folds the hashes that each row has in `lanes` into one node, `rows[row × width + at]`. A block is
/// a power of two wide; the last may have fewer lanes, and then takes part with empty siblings up
/// to the height of the others.
fn fold_rows(lanes: &[Lane], block: usize, at: usize, width: usize, rows: &mut [Node]) {
    const ROWS: usize = 16;
    rows.par_chunks_mut(ROWS * width)
        .enumerate()
        .for_each(|(chunk, rows)| {
            let first = chunk * ROWS;
            let count = rows.len() / width;
            let mut nodes: Vec<_> = (first..first + count)
                .flat_map(|row| lanes.iter().map(move |lane| lane.hashes[row]))
                .collect();
            let mut each = lanes.len();
            for _ in 0..block.ilog2() {
                if width == 1 && each == 1 {
                    break;
                }
                nodes = merkle::parents(&nodes, each);
                each = each.div_ceil(2);
            }
            for (row, node) in rows.chunks_exact_mut(width).zip(nodes) {
                row[at] = node;
            }
        });
}
