//! Content-defined cutting (FastCDC, normalised) and keyed identities. Where a file is cut is a
//! part of the format: two machines must cut the same bytes alike, or the same content would be
//! stored and paid twice. FORMAT.md, section Cutting, is the definition; change nothing here.

use std::fs::File;
use std::io;

use rayon::prelude::*;

use crate::pieces::{Piece, PieceReader, read_exact, total};

/// Shortest frame, except the last of a region.
pub const FRAME_MIN: usize = 256 << 10;
/// Length from which a frame ends at the easier of the two conditions.
pub const FRAME_MEAN: usize = 1 << 20;
/// Longest frame.
pub const FRAME_MAX: usize = 4 << 20;

/// Before the mean length 22 leading zero bits end a frame, after it 18 (normalisation level 2).
const MASK_BEFORE: u64 = !0 << (64 - 22);
const MASK_AFTER: u64 = !0 << (64 - 18);
/// The fingerprint depends on this many last bytes.
const WINDOW: usize = 64;
/// Most bytes of a region in memory at a time.
const BUFFER: usize = 4 * FRAME_MAX;
/// Regions up to this size are cut whole, many at a time.
const SMALL: u64 = FRAME_MAX as u64;

/// A frame of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameCut {
    /// First byte within the region.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Keyed BLAKE3 of the plain bytes.
    pub identity: [u8; 32],
}

/// Where frames end: a gear table that only the owner of the key knows, so that lengths of
/// frames do not betray known content.
pub struct Cutter {
    gear: Box<[u64; 256]>,
    identity_key: [u8; 32],
}

impl Cutter {
    /// Gear entry `i` is bytes [8i, 8i+8), little endian, of the extended output of keyed BLAKE3
    /// over the text `tuskfs 1 gear`.
    pub fn new(gear_key: &[u8; 32], identity_key: &[u8; 32]) -> Self {
        let mut bytes = [0u8; 256 * 8];
        blake3::Hasher::new_keyed(gear_key)
            .update(b"tuskfs 1 gear")
            .finalize_xof()
            .fill(&mut bytes);
        let mut gear = Box::new([0u64; 256]);
        for (entry, chunk) in gear.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*chunk);
        }
        Self {
            gear,
            identity_key: *identity_key,
        }
    }

    /// Length of the first frame of `data`, where `data` reaches to the end of the region or has
    /// at least `FRAME_MAX` bytes.
    pub fn first(&self, data: &[u8]) -> usize {
        let end = data.len().min(FRAME_MAX);
        if end <= FRAME_MIN {
            return end;
        }
        let mut fingerprint = 0u64;
        for &byte in &data[FRAME_MIN - WINDOW..FRAME_MIN] {
            fingerprint = (fingerprint << 1).wrapping_add(self.gear[byte as usize]);
        }
        let middle = end.min(FRAME_MEAN);
        for (range, mask) in [(FRAME_MIN..middle, MASK_BEFORE), (middle..end, MASK_AFTER)] {
            let start = range.start;
            for (i, &byte) in data[range].iter().enumerate() {
                if fingerprint & mask == 0 {
                    return start + i;
                }
                fingerprint = (fingerprint << 1).wrapping_add(self.gear[byte as usize]);
            }
        }
        end
    }

    /// Identity of a frame's plain bytes.
    pub fn identity(&self, data: &[u8]) -> [u8; 32] {
        keyed_hash(&self.identity_key, data)
    }

    /// Cuts every region. Small ones side by side, big ones one after the other with their frames
    /// hashed side by side: memory stays at a few buffers however much there is.
    pub fn regions(&self, regions: &[Vec<Piece>]) -> io::Result<Vec<Vec<FrameCut>>> {
        let mut cuts = regions
            .par_iter()
            .map_init(Vec::new, |buffer, pieces| {
                if total(pieces) > SMALL {
                    return Ok(Vec::new());
                }
                self.small(pieces, buffer)
            })
            .collect::<io::Result<Vec<_>>>()?;
        for (cut, pieces) in cuts.iter_mut().zip(regions) {
            if total(pieces) > SMALL {
                *cut = self.large(pieces)?;
            }
        }
        Ok(cuts)
    }

    fn small(&self, pieces: &[Piece], buffer: &mut Vec<u8>) -> io::Result<Vec<FrameCut>> {
        crate::pieces::read_all(pieces, buffer)?;
        let mut cuts = Vec::new();
        let mut at = 0;
        while at < buffer.len() {
            let data = &buffer[at..at + self.first(&buffer[at..])];
            cuts.push(FrameCut {
                offset: at as u64,
                length: data.len() as u64,
                identity: self.identity(data),
            });
            at += data.len();
        }
        Ok(cuts)
    }

    fn large(&self, pieces: &[Piece]) -> io::Result<Vec<FrameCut>> {
        let mut reader = PieceReader::new(pieces);
        let mut buffer = vec![0u8; BUFFER];
        let mut cuts = Vec::new();
        let (mut held, mut start) = (0, 0u64);
        loop {
            let read = reader.read(&mut buffer[held..])?;
            held += read;
            let ended = held < BUFFER;
            let mut frames = Vec::new();
            let mut at = 0;
            while at < held && (ended || held - at >= FRAME_MAX) {
                let length = self.first(&buffer[at..held]);
                frames.push((at, length));
                at += length;
            }
            cuts.par_extend(frames.into_par_iter().map(|(from, length)| FrameCut {
                offset: start + from as u64,
                length: length as u64,
                identity: self.identity(&buffer[from..from + length]),
            }));
            if ended {
                return Ok(cuts);
            }
            buffer.copy_within(at..held, 0);
            held -= at;
            start += at as u64;
        }
    }
}

/// Keyed BLAKE3.
pub fn keyed_hash(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(key, data).as_bytes()
}

/// Keyed BLAKE3 of consecutive groups of a file; the last one may be short.
pub fn hash_groups(key: &[u8; 32], file: &File, group: usize) -> io::Result<Vec<[u8; 32]>> {
    if group == 0 {
        return Err(io::Error::other("groups of no bytes"));
    }
    let size = file.metadata()?.len();
    (0..size.div_ceil(group as u64))
        .into_par_iter()
        .map_init(
            || vec![0u8; group],
            |buffer, index| {
                let offset = index * group as u64;
                let data = &mut buffer[..group.min((size - offset) as usize)];
                read_exact(file, data, offset)?;
                Ok(keyed_hash(key, data))
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    fn noise(length: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; length];
        blake3::Hasher::new()
            .update(&[seed])
            .finalize_xof()
            .fill(&mut out);
        out
    }

    fn file_of(data: &[u8]) -> Arc<File> {
        let path = std::env::temp_dir().join(format!(
            "tuskfs-cut-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(data).unwrap();
        Arc::new(file)
    }

    fn cut(data: &[u8]) -> Vec<FrameCut> {
        let pieces = vec![Piece {
            file: Some(file_of(data)),
            offset: 0,
            length: data.len() as u64,
        }];
        let cutter = Cutter::new(&[1; 32], &[2; 32]);
        cutter.regions(&[pieces]).unwrap().remove(0)
    }

    #[test]
    fn frames_cover_the_region_within_bounds() {
        for length in [0, 1, FRAME_MIN, FRAME_MIN + 1, 40 << 20] {
            let data = noise(length, 3);
            let cuts = cut(&data);
            let mut at = 0;
            for (i, frame) in cuts.iter().enumerate() {
                assert_eq!(frame.offset, at);
                assert!(frame.length as usize <= FRAME_MAX);
                assert!(frame.length as usize >= FRAME_MIN || i == cuts.len() - 1);
                let plain = &data[at as usize..][..frame.length as usize];
                assert_eq!(
                    frame.identity,
                    *blake3::keyed_hash(&[2; 32], plain).as_bytes()
                );
                at += frame.length;
            }
            assert_eq!(at as usize, length);
        }
    }

    #[test]
    fn mean_is_near_one_mebibyte() {
        let cuts = cut(&noise(64 << 20, 9));
        let mean = (64 << 20) / cuts.len();
        assert!((800 << 10..1500 << 10).contains(&mean), "mean {mean}");
    }

    #[test]
    fn an_insertion_changes_few_frames() {
        let old = noise(32 << 20, 4);
        let mut new = old.clone();
        new.splice(10 << 20..10 << 20, *b"inserted");
        let known: std::collections::HashSet<_> =
            cut(&old).into_iter().map(|f| f.identity).collect();
        let fresh = cut(&new)
            .into_iter()
            .filter(|f| !known.contains(&f.identity))
            .count();
        assert!((1..=3).contains(&fresh), "{fresh} new frames");
    }

    #[test]
    fn large_and_small_paths_agree() {
        let data = noise(FRAME_MAX, 5);
        let cutter = Cutter::new(&[1; 32], &[2; 32]);
        let pieces = [Piece {
            file: Some(file_of(&data)),
            offset: 0,
            length: data.len() as u64,
        }];
        let small = cutter.small(&pieces, &mut Vec::new()).unwrap();
        assert_eq!(small, cutter.large(&pieces).unwrap());
    }

    #[test]
    fn cuts_are_those_of_version_1() {
        let lengths: Vec<_> = cut(&noise(6 << 20, 7)).iter().map(|f| f.length).collect();
        assert_eq!(lengths, GOLDEN);
    }

    const GOLDEN: &[u64] = &[1465866, 1439261, 473332, 1222279, 1160893, 529825];
}
