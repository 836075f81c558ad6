//! Questions to a single sliver: is it the right one, and what does it hold for others?

use std::borrow::Cow;

use crate::error::Result;
use crate::merkle::{self, Node};
use crate::metadata;
use crate::reed_solomon::Expander;
use crate::shape::{Axis, Shape, Shards};

/// A symbol with the proof that it belongs to its sliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedSymbol {
    /// The symbol.
    pub symbol: Vec<u8>,
    /// Siblings from the leaf upwards; zeros stand for an empty subtree.
    pub proof: Vec<Node>,
}

/// The n symbols of a sliver, and their length.
fn extended(axis: Axis, shards: Shards, data: &[u8]) -> Result<(Vec<u8>, usize)> {
    let symbol = shards.symbol_of(axis, data.len())?;
    let mut all = Vec::with_capacity(shards.count * symbol);
    all.extend_from_slice(data);
    all.resize(shards.count * symbol, 0);
    let mut expander: Expander = Expander::new(shards.symbols(axis), shards.count, symbol, 1);
    expander.extend(&mut all);
    Ok((all, symbol))
}

/// Is `data` the sliver `index` of `axis` that the metadata (BCS) commits to? An error means that
/// metadata (but for what it says of other slivers) or index are wrong in themselves.
pub fn verify(
    metadata: &[u8],
    shards: usize,
    axis: Axis,
    index: usize,
    data: &[u8],
) -> Result<bool> {
    let (size, expected) = metadata::sliver_root(metadata, shards, axis, index)?;
    let shape = Shape::new(size, shards)?;
    if data.len() != shape.sliver_bytes(axis) {
        return Ok(false);
    }
    let (symbols, symbol) = extended(axis, shape.shards, data)?;
    Ok(merkle::root(&merkle::leaves(&symbols, symbol)) == expected)
}

/// The symbols at positions `targets` (below n) of the extended sliver, in that order.
pub fn symbols(axis: Axis, shards: usize, data: &[u8], targets: &[usize]) -> Result<Vec<Vec<u8>>> {
    let shards = Shards::new(shards)?;
    let symbol = shards.symbol_of(axis, data.len())?;
    let source = shards.symbols(axis);
    for target in targets {
        shards.check_index(*target)?;
    }
    let all = match targets.iter().any(|target| *target >= source) {
        true => Cow::Owned(extended(axis, shards, data)?.0),
        false => Cow::Borrowed(data),
    };
    let pick = |target: &usize| all[target * symbol..][..symbol].to_vec();
    Ok(targets.iter().map(pick).collect())
}

/// The symbol at position `target` (below n) with its proof.
pub fn proved_symbol(
    axis: Axis,
    shards: usize,
    data: &[u8],
    target: usize,
) -> Result<ProvedSymbol> {
    let shards = Shards::new(shards)?;
    shards.check_index(target)?;
    let (symbols, symbol) = extended(axis, shards, data)?;
    Ok(ProvedSymbol {
        symbol: symbols[target * symbol..][..symbol].to_vec(),
        proof: merkle::proof(&merkle::leaves(&symbols, symbol), target),
    })
}
