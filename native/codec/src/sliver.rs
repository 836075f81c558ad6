//! Questions to a single sliver: is it the right one, and what does it hold for others?

use crate::error::Result;
use crate::merkle::{self, Node};
use crate::metadata::Metadata;
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

/// The n symbols of a sliver, each behind the prefix of a leaf; and that pitch.
fn leaves(axis: Axis, shards: Shards, data: &[u8]) -> Result<(Vec<u8>, usize)> {
    let symbol = shards.symbol_of(axis, data.len())?;
    let pitch = symbol + 1;
    let mut leaves = vec![merkle::LEAF_PREFIX; shards.count * pitch];
    Expander::new(shards.symbols(axis), shards.count, symbol)?.leaves(data, &mut leaves)?;
    Ok((leaves, pitch))
}

/// Is `data` the sliver `index` of `axis` that the metadata (BCS) commits to? An error means that
/// metadata or index are wrong in themselves.
pub fn verify(
    metadata: &[u8],
    shards: usize,
    axis: Axis,
    index: usize,
    data: &[u8],
) -> Result<bool> {
    let metadata = Metadata::parse(metadata, shards)?;
    let expected = metadata.sliver_root(axis, index)?;
    let shape = Shape::new(metadata.size, shards)?;
    if data.len() != shape.sliver_bytes(axis) {
        return Ok(false);
    }
    let (leaves, pitch) = leaves(axis, shape.shards, data)?;
    Ok(merkle::root(&merkle::hash_records(&leaves, pitch)) == expected)
}

/// The symbols at positions `targets` (below n) of the extended sliver, in that order.
pub fn symbols(axis: Axis, shards: usize, data: &[u8], targets: &[usize]) -> Result<Vec<Vec<u8>>> {
    let shards = Shards::new(shards)?;
    let symbol = shards.symbol_of(axis, data.len())?;
    let source = shards.symbols(axis);
    for target in targets {
        shards.check_index(*target)?;
    }
    let mut recovery = Vec::new();
    if targets.iter().any(|target| *target >= source) {
        recovery = vec![0; (shards.count - source) * symbol];
        Expander::new(source, shards.count, symbol)?.recovery(data, &mut recovery, symbol)?;
    }
    let pick = |target: &usize| match target.checked_sub(source) {
        None => data[target * symbol..][..symbol].to_vec(),
        Some(at) => recovery[at * symbol..][..symbol].to_vec(),
    };
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
    let (leaves, pitch) = leaves(axis, shards, data)?;
    Ok(ProvedSymbol {
        symbol: leaves[target * pitch + 1..(target + 1) * pitch].to_vec(),
        proof: merkle::proof(&merkle::hash_records(&leaves, pitch), target),
    })
}
