//! How symbols lie in the 64-byte blocks that the Reed–Solomon code works on: the low bytes of 32
//! elements, then their high bytes.
//!
//! A symbol's whole blocks are taken as they are. What is left of it, low bytes first, would leave
//! most of a block empty; elements do not know their neighbours, so several symbols share one.

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;
/// Elements of a block.
const ELEMENTS: usize = BLOCK / 2;
/// A block.
pub(crate) type Block = [u8; BLOCK];

/// Bytes that lie together in both.
struct Piece {
    in_blocks: usize,
    in_run: usize,
    bytes: usize,
}

/// Some blocks of a run of symbols, which the code works on at once.
pub(crate) struct Batch {
    /// How many.
    pub(crate) blocks: usize,
    pieces: Vec<Piece>,
}

/// Cuts a run of `each` symbols of `symbol` bytes into batches of about one size, at most `most`
/// blocks.
pub(crate) fn batches(symbol: usize, each: usize, most: usize) -> Vec<Batch> {
    let whole = symbol / BLOCK;
    let half = symbol % BLOCK / 2;
    let mut blocks: Vec<Vec<(usize, usize, usize)>> = Vec::new();
    for at in 0..each {
        let block = |block| vec![(0, at * symbol + block * BLOCK, BLOCK)];
        blocks.extend((0..whole).map(block));
    }
    if let Some(most) = ELEMENTS.checked_div(half) {
        let tails: Vec<_> = (0..each).map(|at| at * symbol + whole * BLOCK).collect();
        for sharing in tails.chunks(most) {
            let halves = |(at, tail): (usize, &usize)| {
                let (low, high) = (at * half, ELEMENTS + at * half);
                [(low, *tail, half), (high, tail + half, half)]
            };
            blocks.push(sharing.iter().enumerate().flat_map(halves).collect());
        }
    }
    let size = blocks.len().div_ceil(blocks.len().div_ceil(most));
    blocks.chunks(size).map(Batch::new).collect()
}

impl Batch {
    fn new(blocks: &[Vec<(usize, usize, usize)>]) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            for &(in_block, in_run, bytes) in block {
                let in_blocks = at * BLOCK + in_block;
                match pieces.last_mut() {
                    Some(last)
                        if last.in_blocks + last.bytes == in_blocks
                            && last.in_run + last.bytes == in_run =>
                    {
                        last.bytes += bytes;
                    }
                    _ => pieces.push(Piece {
                        in_blocks,
                        in_run,
                        bytes,
                    }),
                }
            }
        }
        Self {
            blocks: blocks.len(),
            pieces,
        }
    }

    /// Copies this batch's part of `run` into its blocks; elements that belong to no symbol stay.
    pub(crate) fn spread(&self, run: &[u8], blocks: &mut [Block]) {
        let blocks = blocks.as_flattened_mut();
        for piece in &self.pieces {
            blocks[piece.in_blocks..][..piece.bytes]
                .copy_from_slice(&run[piece.in_run..][..piece.bytes]);
        }
    }

    /// The reverse; a run may end early.
    pub(crate) fn gather(&self, blocks: &[Block], run: &mut [u8]) {
        let blocks = blocks.as_flattened();
        for piece in &self.pieces {
            let from = piece.in_run.min(run.len());
            let bytes = piece.bytes.min(run.len() - from);
            run[from..from + bytes].copy_from_slice(&blocks[piece.in_blocks..][..bytes]);
        }
    }
}
