//! The numbers of a RedStuff RS2 encoding: how many symbols, how long, how they lie.
//!
//! With n shards and f = ⌊(n−1)/3⌋, a blob fills a matrix of n−2f rows and n−f columns of equal
//! symbols, row by row. Rows are extended to n columns, columns to n rows; primary sliver i is the
//! first n−f symbols of row i, secondary sliver j the first n−2f symbols of column j.

use crate::error::{Result, ensure};

/// Fewest shards that the code works with: below it, f is 0 and there is nothing to extend.
pub const SHARDS_MIN: usize = 4;
/// Most shards accepted; Walrus has 1000. Bounds what a hostile number can make us allocate.
pub const SHARDS_MAX: usize = 4096;
/// Longest symbol: Walrus writes its length as u16 and RS2 wants it even.
pub const SYMBOL_MAX: usize = 65_534;

/// Which way a sliver lies in the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// A row.
    Primary,
    /// A column.
    Secondary,
}

/// The counts that follow from the number of shards alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    /// n, the number of shards, sliver pairs, and symbols of an extended sliver.
    pub count: usize,
    /// n − 2f: rows of the source matrix.
    pub primary: usize,
    /// n − f: columns of the source matrix.
    pub secondary: usize,
}

impl Shards {
    /// Counts for `count` shards, 4 to 4096.
    pub fn new(count: usize) -> Result<Self> {
        ensure((SHARDS_MIN..=SHARDS_MAX).contains(&count), || {
            format!("{count} shards: from {SHARDS_MIN} to {SHARDS_MAX} are possible")
        })?;
        let faulty = (count - 1) / 3;
        Ok(Self {
            count,
            primary: count - 2 * faulty,
            secondary: count - faulty,
        })
    }

    /// Slivers of `axis` that hold plain bytes of the blob; as many of any kind decode it.
    pub fn systematic(&self, axis: Axis) -> usize {
        match axis {
            Axis::Primary => self.primary,
            Axis::Secondary => self.secondary,
        }
    }

    /// Symbols of a sliver of `axis` before it is extended to n.
    pub fn symbols(&self, axis: Axis) -> usize {
        match axis {
            Axis::Primary => self.secondary,
            Axis::Secondary => self.primary,
        }
    }

    /// The pair that a sliver belongs to: pair i is primary sliver i and secondary sliver n−1−i.
    pub fn pair(&self, axis: Axis, index: usize) -> usize {
        match axis {
            Axis::Primary => index,
            Axis::Secondary => self.count - 1 - index,
        }
    }

    /// Fails unless `index` is that of a shard, sliver or symbol.
    pub fn check_index(&self, index: usize) -> Result<()> {
        ensure(index < self.count, || {
            format!("index {index} is out of range for {} shards", self.count)
        })
    }

    /// Length of the symbols of a sliver of `axis` of `bytes` bytes; fails if no sliver is so long.
    pub fn symbol_of(&self, axis: Axis, bytes: usize) -> Result<usize> {
        let symbols = self.symbols(axis);
        let symbol = bytes / symbols;
        ensure(bytes == symbol * symbols && valid_symbol(symbol), || {
            format!("{bytes} bytes are not a sliver of {symbols} even symbols")
        })?;
        Ok(symbol)
    }
}

/// Is this a length that a symbol can have?
pub(crate) fn valid_symbol(symbol: usize) -> bool {
    symbol > 0 && symbol.is_multiple_of(2) && symbol <= SYMBOL_MAX
}

/// The shape of one blob's encoding; lengths are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Counts of the committee.
    pub shards: Shards,
    /// Length of the blob.
    pub size: u64,
    /// Length of a symbol.
    pub symbol: usize,
}

impl Shape {
    /// Shape of a blob of `size` bytes over `shards` shards; fails if its symbols would be too long.
    pub fn new(size: u64, shards: usize) -> Result<Self> {
        let shards = Shards::new(shards)?;
        let symbols = (shards.primary * shards.secondary) as u64;
        let symbol = ((size.max(1) - 1) / symbols + 1).next_multiple_of(2);
        ensure(symbol <= SYMBOL_MAX as u64, || {
            let most = symbols * SYMBOL_MAX as u64;
            let count = shards.count;
            format!("a blob of {size} bytes is too large for {count} shards (at most {most})")
        })?;
        Ok(Self {
            shards,
            size,
            symbol: symbol as usize,
        })
    }

    /// Length of a sliver of `axis`.
    pub fn sliver_bytes(&self, axis: Axis) -> usize {
        self.shards.symbols(axis) * self.symbol
    }

    /// Length of a sliver pair.
    pub fn pair_bytes(&self) -> usize {
        self.sliver_bytes(Axis::Primary) + self.sliver_bytes(Axis::Secondary)
    }

    /// Length of all sliver pairs.
    pub fn slivers_bytes(&self) -> usize {
        self.pair_bytes() * self.shards.count
    }

    /// What storage is paid for: the slivers, and on each shard all hashes and the blob ID.
    pub fn encoded_bytes(&self) -> u64 {
        let n = self.shards.count as u64;
        n * (64 * n + 32) + self.slivers_bytes() as u64
    }
}
