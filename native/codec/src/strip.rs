//! Strips: some rows or columns of the matrix, extended side by side, and what their hashes become.

use rayon::prelude::*;

use crate::merkle::{self, Node};
use crate::reed_solomon::Expander;
use crate::shape::{Shape, Shards};

/// Bytes of symbols that lie side by side in a strip, if that is no less than a symbol.
const STRIP_WIDTH: usize = 512;
/// Most strips, unless that would leave too few for the pool.
const STRIPS_MOST: usize = 256;
const STRIPS_LEAST: usize = 8;

/// Symbols of some rows or columns side by side: a run of them for each of n positions along them.
pub(crate) struct Strip {
    expander: Expander,
    /// All runs.
    pub(crate) symbols: Vec<u8>,
    /// Bytes of a run.
    pub(crate) run: usize,
}

impl Strip {
    /// For `each` rows or columns of which `source` positions are given.
    pub(crate) fn new(shape: &Shape, source: usize, each: usize) -> Self {
        let Shape { shards, symbol, .. } = *shape;
        Self {
            expander: Expander::new(source, shards.count, symbol, each),
            symbols: vec![0; shards.count * each * symbol],
            run: each * symbol,
        }
    }

    /// The runs in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &[u8]> {
        self.symbols.chunks_exact(self.run)
    }

    /// The runs in order.
    pub(crate) fn runs_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.symbols.chunks_exact_mut(self.run)
    }

    /// Fills the runs behind the given ones.
    pub(crate) fn extend(&mut self) {
        self.expander.extend(&mut self.symbols);
    }
}

/// How many rows or columns make a strip: a power of two.
pub(crate) fn width(shards: Shards, symbol: usize) -> usize {
    let most = (shards.count / STRIPS_LEAST).max(1);
    let each = (STRIP_WIDTH / symbol).max(shards.count / STRIPS_MOST);
    1 << each.clamp(1, most).ilog2()
}

/// Folds the hashes of `held` of the `each` columns of a strip into one node a row. Columns that
/// are not there take part as empty siblings, unless the strip is the only one.
pub(crate) fn fold(nodes: &[Node], each: usize, held: usize, strips: usize) -> Vec<Node> {
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
pub(crate) fn row_roots(rows: &[Node], n: usize) -> Vec<Node> {
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
