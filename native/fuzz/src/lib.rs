//! What the fuzz targets share: blobs that were encoded properly, and ways to bend bytes. A target
//! that starts from a valid structure gets behind its first check with the first input.

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use tuskfs_codec::encode;
use tuskfs_codec::metadata::Metadata;
use tuskfs_codec::shape::{Axis, Shape};

/// Both kinds of slivers.
pub const AXES: [Axis; 2] = [Axis::Primary, Axis::Secondary];

/// A blob with all that its encoding consists of.
pub struct Sample {
    /// The blob.
    pub blob: Vec<u8>,
    /// Its shape.
    pub shape: Shape,
    /// Its metadata.
    pub metadata: Metadata,
    /// BCS of the metadata.
    pub bytes: Vec<u8>,
    slivers: Vec<u8>,
}

impl Sample {
    fn new(shards: usize, size: usize) -> Self {
        let blob: Vec<_> = (0..size).map(|i| (i * i >> 4) as u8).collect();
        let shape = Shape::new(size as u64, shards).unwrap();
        let mut slivers = vec![0; shape.slivers_bytes()];
        let metadata = encode::encode(&blob, shards, &mut slivers).unwrap();
        Self {
            blob,
            shape,
            bytes: metadata.to_bytes(),
            metadata,
            slivers,
        }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shape.shards.count
    }

    /// Sliver `index` of `axis`.
    pub fn sliver(&self, axis: Axis, index: usize) -> &[u8] {
        let pair = self.shape.shards.pair(axis, index) * self.shape.pair_bytes();
        let pair = &self.slivers[pair..pair + self.shape.pair_bytes()];
        let (primary, secondary) = pair.split_at(self.shape.sliver_bytes(Axis::Primary));
        match axis {
            Axis::Primary => primary,
            Axis::Secondary => secondary,
        }
    }
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    [
        (4, 0),
        (4, 13),
        (7, 600),
        (10, 4000),
        (13, 1),
        (31, 5000),
        (100, 9999),
    ]
    .map(|(shards, size)| Sample::new(shards, size))
    .into()
});

/// One of a few blobs over 4 to 100 shards.
pub fn sample(input: &mut Unstructured<'_>) -> Result<&'static Sample> {
    input.choose(&SAMPLES)
}

/// `valid` as it is, or with up to four changes: other bytes, cut, longer, bytes moved.
pub fn bend(input: &mut Unstructured<'_>, valid: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = valid.to_vec();
    for _ in 0..input.int_in_range(0..=4)? {
        let at = input.int_in_range(0..=bytes.len())?;
        let end = (at + input.int_in_range(0..=40_usize)?).min(bytes.len());
        match input.int_in_range(0..=4)? {
            0 => input.fill_buffer(&mut bytes[at..end])?,
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.extend_from_within(at..end),
            _ => {
                let count = input.int_in_range(0..=16)?;
                let new = input.bytes(input.len().min(count))?.to_vec();
                bytes.splice(at..at, new);
            }
        }
    }
    Ok(bytes)
}

/// A small number where one is expected, now and then any number.
pub fn index(input: &mut Unstructured<'_>, below: usize) -> Result<usize> {
    match input.ratio(1, 8)? {
        true => input.arbitrary(),
        false => input.int_in_range(0..=below),
    }
}

/// The codec is to take any number of shards, too.
pub fn shards(input: &mut Unstructured<'_>, right: usize) -> Result<usize> {
    match input.ratio(1, 16)? {
        true => Ok(usize::from(input.arbitrary::<u16>()?)),
        false => Ok(right),
    }
}
