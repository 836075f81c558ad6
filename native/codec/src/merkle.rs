//! Walrus' Merkle trees: BLAKE2b-256, leaves prefixed with 0, inner nodes with 1, and 32 zero
//! bytes in place of an empty subtree (the sibling of the last node of an odd level).
//!
//! Hashing dominates the encoding of a blob, so whole levels of many trees are hashed at once:
//! eight to a vector where the processor has AVX-512, four where it has AVX2, else as many as
//! `blake2b_simd` makes of it.

use blake2b_simd::{Params, many};

#[cfg(target_arch = "x86_64")]
use crate::lanes::Lanes;

/// A hash, or zeros for an empty subtree.
pub type Node = [u8; 32];

/// What is hashed before the bytes of a leaf.
const LEAF_PREFIX: u8 = 0;
const INNER_PREFIX: u8 = 1;
/// Length of two nodes.
pub(crate) const PAIR_BYTES: usize = 64;
pub(crate) const EMPTY: Node = [0; 32];

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

/// BLAKE2b-256 of `data`.
pub fn hash(data: &[u8]) -> Node {
    node(&params().hash(data))
}

fn node(hash: &blake2b_simd::Hash) -> Node {
    hash.as_bytes().try_into().expect("the hash length is 32")
}

/// Hashes of consecutive symbols as leaves.
pub(crate) fn leaves(symbols: &[u8], symbol: usize) -> Vec<Node> {
    let mut nodes = vec![EMPTY; symbols.len() / symbol];
    hash_records(LEAF_PREFIX, symbols, symbol, &mut nodes);
    nodes
}

/// Hashes consecutive records of `pitch` bytes, the prefix before each.
fn hash_records(prefix: u8, records: &[u8], pitch: usize, nodes: &mut [Node]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = Lanes::available() {
        return lanes.hash_records(prefix, records, pitch, nodes);
    }
    hash_records_portably(prefix, records, pitch, nodes);
}

fn hash_records_portably(prefix: u8, records: &[u8], pitch: usize, nodes: &mut [Node]) {
    const TOGETHER: usize = 64;
    let params = params();
    let mut messages = Vec::with_capacity(TOGETHER * (pitch + 1));
    for (records, nodes) in records
        .chunks(TOGETHER * pitch)
        .zip(nodes.chunks_mut(TOGETHER))
    {
        messages.clear();
        for record in records.chunks_exact(pitch) {
            messages.push(prefix);
            messages.extend_from_slice(record);
        }
        let mut jobs: Vec<_> = messages
            .chunks_exact(pitch + 1)
            .map(|message| many::HashManyJob::new(&params, message))
            .collect();
        many::hash_many(jobs.iter_mut());
        for (place, job) in nodes.iter_mut().zip(&jobs) {
            *place = node(&job.to_hash());
        }
    }
}

/// One level up in `trees` trees at once, whose nodes are interleaved: the first of every tree, then
/// the second of every tree, and so on.
pub(crate) fn parents(nodes: &[Node], trees: usize) -> Vec<Node> {
    let mut pairs = Vec::with_capacity(nodes.len().div_ceil(2 * trees) * trees);
    for level in nodes.chunks(2 * trees) {
        let (left, right) = level.split_at(trees);
        match right {
            [] => pairs.extend(left.iter().map(|left| [*left, EMPTY])),
            _ => pairs.extend(left.iter().zip(right).map(|(left, right)| [*left, *right])),
        }
    }
    let mut above = vec![EMPTY; pairs.len()];
    let records = pairs.as_flattened().as_flattened();
    hash_records(INNER_PREFIX, records, PAIR_BYTES, &mut above);
    above
}

/// Roots of `trees` trees whose leaves are interleaved; each has at least one.
pub(crate) fn roots(leaves: Vec<Node>, trees: usize) -> Vec<Node> {
    let mut nodes = leaves;
    while nodes.len() > trees {
        nodes = parents(&nodes, trees);
    }
    nodes
}

/// Root over leaf hashes; the empty tree's root is zeros.
pub fn root(leaves: &[Node]) -> Node {
    match leaves {
        [] => EMPTY,
        _ => roots(leaves.to_vec(), 1)[0],
    }
}

/// Siblings on the way from leaf `index` to the root; zeros stand for an empty subtree.
pub fn proof(leaves: &[Node], index: usize) -> Vec<Node> {
    let mut path = Vec::new();
    let mut level = leaves.to_vec();
    let mut at = index;
    while level.len() > 1 {
        path.push(level.get(at ^ 1).copied().unwrap_or(EMPTY));
        level = parents(&level, 1);
        at /= 2;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Node> {
        (0..count).map(|i| hash(&[LEAF_PREFIX, i as u8])).collect()
    }

    fn inner(left: &Node, right: &Node) -> Node {
        hash(&[&[INNER_PREFIX][..], left, right].concat())
    }

    #[test]
    fn a_proof_leads_from_every_leaf_to_the_root() {
        for count in 1..40 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for (index, leaf) in leaves.iter().enumerate() {
                let mut at = index;
                let mut node = *leaf;
                for sibling in proof(&leaves, index) {
                    node = match at % 2 {
                        0 => inner(&node, &sibling),
                        _ => inner(&sibling, &node),
                    };
                    at /= 2;
                }
                assert_eq!(node, root, "leaf {index} of {count}");
            }
        }
    }

    /// On a processor without AVX2 both ways are the same.
    #[test]
    fn records_hash_alike_on_every_processor() {
        let bytes: Vec<u8> = (0..7000_usize).map(|i| ((i * i) >> 3) as u8).collect();
        for pitch in (1..=140).chain([255, 256, 257, 384, 385]) {
            for count in [0, 1, 7, 8, 9, 17] {
                let records = &bytes[..pitch * count];
                for prefix in [LEAF_PREFIX, INNER_PREFIX] {
                    let expected: Vec<_> = records
                        .chunks_exact(pitch)
                        .map(|record| hash(&[&[prefix], record].concat()))
                        .collect();
                    let mut nodes = vec![EMPTY; count];
                    hash_records_portably(prefix, records, pitch, &mut nodes);
                    assert_eq!(nodes, expected, "{count} of {pitch} bytes");
                    nodes.fill(EMPTY);
                    hash_records(prefix, records, pitch, &mut nodes);
                    assert_eq!(nodes, expected, "{count} of {pitch} bytes");
                }
            }
        }
    }

    #[test]
    fn odd_levels_are_filled_up_with_zeros() {
        let l = leaves(3);
        assert_eq!(root(&l), inner(&inner(&l[0], &l[1]), &inner(&l[2], &EMPTY)));
    }
}
