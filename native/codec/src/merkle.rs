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

/// What stands before the bytes of a leaf.
pub(crate) const LEAF_PREFIX: u8 = 0;
const INNER_PREFIX: u8 = 1;
/// Length of a hashed inner node: prefix and two children.
pub(crate) const INNER_BYTES: usize = 65;
const EMPTY: Node = [0; 32];

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

/// Hashes consecutive records of `pitch` bytes, prefix included.
pub(crate) fn hash_records(records: &[u8], pitch: usize) -> Vec<Node> {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = Lanes::available() {
        return lanes.hash_records(records, pitch);
    }
    hash_records_portably(records, pitch)
}

fn hash_records_portably(records: &[u8], pitch: usize) -> Vec<Node> {
    let params = params();
    let mut jobs: Vec<_> = records
        .chunks_exact(pitch)
        .map(|record| many::HashManyJob::new(&params, record))
        .collect();
    many::hash_many(jobs.iter_mut());
    jobs.iter().map(|job| node(&job.to_hash())).collect()
}

/// One level up: `nodes` holds the levels of several trees one behind the other, `width` nodes
/// each; the answer has ⌈width/2⌉ each.
pub(crate) fn parents(nodes: &[Node], width: usize) -> Vec<Node> {
    let mut records =
        Vec::with_capacity(nodes.len().div_ceil(width) * width.div_ceil(2) * INNER_BYTES);
    for level in nodes.chunks_exact(width) {
        for pair in level.chunks(2) {
            records.push(INNER_PREFIX);
            records.extend_from_slice(&pair[0]);
            records.extend_from_slice(pair.get(1).unwrap_or(&EMPTY));
        }
    }
    hash_records(&records, INNER_BYTES)
}

/// Root over leaf hashes; the empty tree's root is zeros.
pub fn root(leaves: &[Node]) -> Node {
    match leaves {
        [] => EMPTY,
        [only] => *only,
        _ => root(&parents(leaves, leaves.len())),
    }
}

/// Siblings on the way from leaf `index` to the root; zeros stand for an empty subtree.
pub fn proof(leaves: &[Node], index: usize) -> Vec<Node> {
    let mut path = Vec::new();
    let mut level = leaves.to_vec();
    let mut at = index;
    while level.len() > 1 {
        path.push(level.get(at ^ 1).copied().unwrap_or(EMPTY));
        level = parents(&level, level.len());
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
                let expected: Vec<_> = records.chunks_exact(pitch).map(hash).collect();
                let portable = hash_records_portably(records, pitch);
                assert_eq!(portable, expected, "{count} of {pitch} bytes");
                assert_eq!(
                    hash_records(records, pitch),
                    expected,
                    "{count} of {pitch} bytes"
                );
            }
        }
    }

    #[test]
    fn odd_levels_are_filled_up_with_zeros() {
        let l = leaves(3);
        assert_eq!(root(&l), inner(&inner(&l[0], &l[1]), &inner(&l[2], &EMPTY)));
    }
}
