//! Blob metadata: the hashes of all slivers, and the blob ID that commits to them.
//!
//! BCS of `BlobMetadata`: variant 0 (V1), encoding type 1 (RS2), blob length u64, number of pairs
//! as ULEB128, then for each pair the roots of its primary and of its secondary sliver, each as
//! variant 1 (digest) and 32 bytes. The blob ID is the hash of encoding type, length and root.

use crate::error::{Error, Result, ensure};
use crate::merkle::{self, Node, PAIR_BYTES};
use crate::shape::{Axis, Shape, Shards};

const VERSION: u8 = 0;
const ENCODING_RS2: u8 = 1;
const NODE_DIGEST: u8 = 1;
/// Two nodes, each with its variant.
const PAIR: usize = 2 * 33;

/// Hashes of the slivers of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairHashes {
    /// Root of primary sliver i.
    pub primary: Node,
    /// Root of secondary sliver n−1−i.
    pub secondary: Node,
}

/// What storage nodes keep beside the slivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Length of the blob in bytes.
    pub size: u64,
    /// One entry a sliver pair.
    pub pairs: Vec<PairHashes>,
}

impl Metadata {
    /// Root over the pairs: the `root_hash` that is registered.
    pub fn root_hash(&self) -> Node {
        let records: Vec<_> = self
            .pairs
            .iter()
            .map(|p| [p.primary, p.secondary])
            .collect();
        let records = records.as_flattened().as_flattened();
        merkle::root(&merkle::leaves(records, PAIR_BYTES))
    }

    /// The blob ID, 32 bytes.
    pub fn blob_id(&self) -> Node {
        let mut bytes = vec![ENCODING_RS2];
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.root_hash());
        merkle::hash(&bytes)
    }

    /// BCS, as sent to storage nodes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, ENCODING_RS2];
        bytes.extend_from_slice(&self.size.to_le_bytes());
        let mut count = self.pairs.len();
        while count >= 0x80 {
            bytes.push(count as u8 | 0x80);
            count >>= 7;
        }
        bytes.push(count as u8);
        for pair in &self.pairs {
            for node in [&pair.primary, &pair.secondary] {
                bytes.push(NODE_DIGEST);
                bytes.extend_from_slice(node);
            }
        }
        bytes
    }

    /// Reads BCS of a blob over `shards` shards; refuses anything that is not exactly that, and
    /// empty hashes, which no sliver has.
    pub fn parse(bytes: &[u8], shards: usize) -> Result<Self> {
        let (size, pairs) = parts(bytes, shards)?;
        let pairs = pairs.iter().map(hashes).collect::<Result<_>>()?;
        Ok(Self { size, pairs })
    }

    /// The root that sliver `index` of `axis` must have.
    pub fn sliver_root(&self, axis: Axis, index: usize) -> Result<Node> {
        let shards = Shards::new(self.pairs.len())?;
        shards.check_index(index)?;
        Ok(self.pairs[shards.pair(axis, index)].of(axis))
    }
}

impl PairHashes {
    fn of(self, axis: Axis) -> Node {
        match axis {
            Axis::Primary => self.primary,
            Axis::Secondary => self.secondary,
        }
    }
}

fn malformed() -> Error {
    Error("metadata is not BCS of an RS2 blob".into())
}

/// Size of the blob, and what stands for each pair.
fn parts(bytes: &[u8], shards: usize) -> Result<(u64, &[[u8; PAIR]])> {
    Shards::new(shards)?;
    let rest = bytes
        .strip_prefix(&[VERSION, ENCODING_RS2])
        .ok_or_else(malformed)?;
    let (size, mut rest) = rest.split_first_chunk::<8>().ok_or_else(malformed)?;
    let size = u64::from_le_bytes(*size);
    Shape::new(size, shards)?;
    let mut count = 0;
    for shift in [0, 7, 14] {
        let (byte, after) = rest.split_first().ok_or_else(malformed)?;
        rest = after;
        count |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            ensure(shift == 0 || *byte != 0, || malformed().0)?;
            break;
        }
        ensure(shift < 14, || malformed().0)?;
    }
    ensure(count == shards && rest.len() == PAIR * shards, || {
        format!("metadata is not that of a blob over {shards} shards")
    })?;
    Ok((size, rest.as_chunks().0))
}

fn hashes(pair: &[u8; PAIR]) -> Result<PairHashes> {
    let digest = |bytes: &[u8]| match bytes.split_first() {
        Some((&NODE_DIGEST, node)) => Node::try_from(node).map_err(|_| malformed()),
        _ => Err(malformed()),
    };
    let (primary, secondary) = pair.split_at(PAIR / 2);
    Ok(PairHashes {
        primary: digest(primary)?,
        secondary: digest(secondary)?,
    })
}

/// Size of the blob and the root that its sliver `index` of `axis` must have, for BCS of which
/// nothing else is looked at.
pub(crate) fn sliver_root(
    bytes: &[u8],
    shards: usize,
    axis: Axis,
    index: usize,
) -> Result<(u64, Node)> {
    let (size, pairs) = parts(bytes, shards)?;
    let shards = Shards::new(shards)?;
    shards.check_index(index)?;
    let pair = hashes(&pairs[shards.pair(axis, index)])?;
    Ok((size, pair.of(axis)))
}

/// Does `bytes` belong to `blob_id`, and is it well formed?
pub fn verify(bytes: &[u8], shards: usize, blob_id: &[u8]) -> bool {
    Metadata::parse(bytes, shards).is_ok_and(|metadata| metadata.blob_id() == blob_id)
}
