//! From a blob to its sliver pairs and metadata.
//!
//! Two passes over the matrix, in strips of some rows or columns that fit a processor's cache and are
//! shared out to the rayon pool in use: rows are extended to the parity columns; then columns are
//! extended to n symbols, which are hashed while they are at hand. A strip's hashes are folded into
//! one node a row, so the n² hashes never exist together.

use rayon::prelude::*;

use crate::error::{Result, ensure};
use crate::merkle::{self, EMPTY, Node};
use crate::metadata::{Metadata, PairHashes};
use crate::reed_solomon::Expander;
use crate::shape::{Axis, Shape, Shards};

/// Bytes of symbols that lie side by side in a strip, if that is no less than a symbol.
const STRIP_WIDTH: usize = 512;
/// Most strips, unless that would leave too few for the pool.
const STRIPS_MOST: usize = 256;
const STRIPS_LEAST: usize = 8;

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
    Ok(Encoding { blob, shape }.run(targets))
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
    Ok(Encoding { blob, shape }.run(targets))
}

/// Symbols of some rows or columns side by side: a run of them for each of n positions along them.
struct Strip {
    expander: Expander,
    symbols: Vec<u8>,
    run: usize,
}

impl Strip {
    /// For `each` rows or columns of which `source` positions are given.
    fn new(shape: &Shape, source: usize, each: usize) -> Self {
        let Shape { shards, symbol, .. } = *shape;
        Self {
            expander: Expander::new(source, shards.count, symbol, each),
            symbols: vec![0; shards.count * each * symbol],
            run: each * symbol,
        }
    }

    fn runs(&self) -> impl Iterator<Item = &[u8]> {
        self.symbols.chunks_exact(self.run)
    }

    fn runs_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.symbols.chunks_exact_mut(self.run)
    }

    fn extend(&mut self) {
        self.expander.extend(&mut self.symbols);
    }
}

/// Cuts slivers into `bytes` each, and puts what is at one place of each together: `count` places,
/// some of them empty if the slivers are shorter.
fn across<'a>(
    slivers: impl IntoIterator<Item = &'a mut [u8]>,
    bytes: usize,
    count: usize,
) -> Vec<Vec<&'a mut [u8]>> {
    let mut places = Vec::new();
    places.resize_with(count, Vec::new);
    for sliver in slivers {
        for (place, part) in places.iter_mut().zip(sliver.chunks_mut(bytes)) {
            place.push(part);
        }
    }
    places
}

/// How many of `count` rows or columns make a strip: a power of two.
fn strip(shards: Shards, symbol: usize) -> usize {
    let most = (shards.count / STRIPS_LEAST).max(1);
    let each = (STRIP_WIDTH / symbol).max(shards.count / STRIPS_MOST);
    1 << each.clamp(1, most).ilog2()
}

struct Encoding<'a> {
    blob: &'a [u8],
    shape: Shape,
}

impl Encoding<'_> {
    fn run(&self, mut targets: Targets<'_>) -> Metadata {
        let primary = targets.primary.par_iter_mut();
        primary
            .take(self.shape.shards.primary)
            .enumerate()
            .for_each(|(row, sliver)| self.copy(row, 0, sliver));
        self.extend_rows(&mut targets.parity);
        self.extend_columns(targets)
    }

    /// Copies symbols of a row of the source matrix; zeros behind the blob's end.
    fn copy(&self, row: usize, column: usize, to: &mut [u8]) {
        let from = (row * self.shape.shards.secondary + column) * self.shape.symbol;
        let held = self.blob.get(from..).unwrap_or_default();
        let (bytes, padding) = to.split_at_mut(held.len().min(to.len()));
        bytes.copy_from_slice(&held[..bytes.len()]);
        padding.fill(0);
    }

    /// First pass: the parity symbols of every row, into the parity columns.
    fn extend_rows(&self, parity: &mut [&mut [u8]]) {
        let Shape { shards, symbol, .. } = self.shape;
        let each = strip(shards, symbol);
        let strips = shards.primary.div_ceil(each);
        let columns = parity.iter_mut().map(|column| &mut **column);
        across(columns, each * symbol, strips)
            .into_par_iter()
            .enumerate()
            .for_each_init(
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
                },
            );
    }

    /// Second pass: all symbols of every column, their hashes, and the slivers that they belong to.
    fn extend_columns(&self, targets: Targets<'_>) -> Metadata {
        let Shape { shards, symbol, .. } = self.shape;
        let n = shards.count;
        let each = strip(shards, symbol);
        let strips = n.div_ceil(each);
        let parity: Vec<&[u8]> = targets.parity.iter().map(|column| &**column).collect();
        let primary = targets.primary.into_iter().skip(shards.primary);
        let primary = across(primary, each * symbol, strips);
        let mut systematic: Vec<_> = targets.systematic.into_iter().map(Some).collect();
        systematic.resize_with(n, || None);
        let mut secondary = vec![EMPTY; n];
        let mut rows = vec![EMPTY; n * strips];
        (rows.par_chunks_exact_mut(n), secondary.par_chunks_mut(each))
            .into_par_iter()
            .zip((primary, systematic.par_chunks_mut(each)))
            .enumerate()
            .for_each_init(
                || Strip::new(&self.shape, shards.primary, each),
                |strip, (at, ((rows, secondary), (primary, systematic)))| {
                    self.fill(strip, at * each, &parity);
                    strip.extend();
                    write(strip, symbol, shards, primary, systematic);
                    let nodes = merkle::leaves(&strip.symbols, symbol);
                    let held = secondary.len();
                    rows.copy_from_slice(&fold(&nodes, each, held, strips));
                    secondary.copy_from_slice(&merkle::roots(nodes, each)[..held]);
                },
            );
        let primary = row_roots(&rows, n);
        let pairs = primary
            .into_iter()
            .zip(secondary.into_iter().rev())
            .map(|(primary, secondary)| PairHashes { primary, secondary })
            .collect();
        Metadata {
            size: self.shape.size,
            pairs,
        }
    }

    /// Puts the given symbols of the columns from `first` on into a strip.
    fn fill(&self, strip: &mut Strip, first: usize, parity: &[&[u8]]) {
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

/// Writes what a strip of columns holds of the primary slivers behind the systematic ones, and of the
/// systematic secondary slivers.
fn write(
    strip: &Strip,
    symbol: usize,
    shards: Shards,
    primary: Vec<&mut [u8]>,
    systematic: &mut [Option<&mut [u8]>],
) {
    for (place, run) in primary.into_iter().zip(strip.runs().skip(shards.primary)) {
        place.copy_from_slice(&run[..place.len()]);
    }
    for (at, sliver) in systematic.iter_mut().enumerate() {
        let Some(sliver) = sliver else { continue };
        for (place, run) in sliver.chunks_exact_mut(symbol).zip(strip.runs()) {
            place.copy_from_slice(&run[at * symbol..][..symbol]);
        }
    }
}

/// Folds the hashes of `held` of the `each` columns of a strip into one node a row. Columns that
/// are not there take part as empty siblings, unless the strip is the only one.
fn fold(nodes: &[Node], each: usize, held: usize, strips: usize) -> Vec<Node> {
    let n = nodes.len() / each;
    let mut rows = Vec::with_capacity(n * held);
    for column in 0..held {
        rows.extend(nodes.iter().skip(column).step_by(each));
    }
    for _ in 0..each.ilog2() {
        if strips == 1 && rows.len() == n {
            break;
        }
        rows = merkle::parents(&rows, n);
    }
    rows
}

/// Roots of the rows, of which `rows` has a node each from strip after strip.
fn row_roots(rows: &[Node], n: usize) -> Vec<Node> {
    const TOGETHER: usize = 64;
    let firsts: Vec<_> = (0..n).step_by(TOGETHER).collect();
    let roots = firsts.into_par_iter().flat_map_iter(|first| {
        let last = (first + TOGETHER).min(n);
        let strips = rows.chunks_exact(n);
        let some = strips.flat_map(|strip| &strip[first..last]).copied();
        merkle::roots(some.collect(), last - first)
    });
    roots.collect()
}
