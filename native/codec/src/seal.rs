//! Sealing: zstd where it helps, then AES-256-GCM. A key seals one pack only and the nonce is the
//! slot, so a pair of key and nonce occurs once, as long as a pack is sealed anew only under a
//! new salt (FORMAT.md, section Frames). Opening never trusts a length before the tag held.

use std::fs::File;
use std::io;

use rayon::prelude::*;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zstd::bulk::{Compressor, Decompressor};

use crate::pieces::{Piece, read_all, total, write_all};

/// Bytes of the tag behind each sealed frame.
pub const TAG: usize = 16;
/// Compression: none.
pub const STORED: u8 = 0;
/// Compression: one zstd frame.
pub const ZSTD: u8 = 1;

/// zstd's own default: near the speed of the disk, most of the gain.
const ZSTD_LEVEL: i32 = 3;
/// Plain bytes in memory at a time when a pack is sealed.
const BATCH: u64 = 16 << 20;
/// Largest thing that is ever opened (a directory of a full pack is a few MiB).
const PLAIN_MAX: usize = 64 << 20;

/// A frame to be sealed.
pub struct SealInput {
    /// Slot in the pack: the nonce.
    pub slot: u32,
    /// Its plain bytes.
    pub pieces: Vec<Piece>,
}

/// Where a sealed frame came to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFrame {
    /// Slot in the pack.
    pub slot: u32,
    /// Offset in the pack file.
    pub offset: u64,
    /// Bytes in the pack, tag included.
    pub sealed: u64,
    /// Plain bytes.
    pub plain: u64,
    /// `STORED` or `ZSTD`.
    pub compression: u8,
}

/// Seals and opens under one pack's key.
pub struct Sealer {
    key: LessSafeKey,
    aad_prefix: Vec<u8>,
}

impl Sealer {
    /// `aad_prefix` says which volume and pack the frames belong to.
    pub fn new(key: &[u8; 32], aad_prefix: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        Self {
            key: LessSafeKey::new(key),
            aad_prefix: aad_prefix.to_vec(),
        }
    }

    fn aad(&self, slot: u32, compression: u8) -> Aad<Vec<u8>> {
        let mut aad = Vec::with_capacity(self.aad_prefix.len() + 5);
        aad.extend_from_slice(&self.aad_prefix);
        aad.extend_from_slice(&slot.to_le_bytes());
        aad.push(compression);
        Aad::from(aad)
    }

    fn nonce(slot: u32) -> Nonce {
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&slot.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals plain bytes; returns the sealed ones and the compression used.
    pub fn seal(&self, compressor: &mut Compressor, slot: u32, plain: &[u8]) -> (Vec<u8>, u8) {
        let mut body = Vec::with_capacity(plain.len() + TAG);
        let compression = match compress(compressor, plain) {
            Some(smaller) => {
                body.extend_from_slice(&smaller);
                ZSTD
            }
            None => {
                body.extend_from_slice(plain);
                STORED
            }
        };
        self.key
            .seal_in_place_append_tag(Self::nonce(slot), self.aad(slot, compression), &mut body)
            .expect("a frame is far below the limit of AES-GCM");
        (body, compression)
    }

    /// Opens what `seal` made; the error says `tag:` when key, place or bytes are not the ones
    /// sealed, `damaged:` when the content does not have the length promised.
    pub fn open(
        &self,
        slot: u32,
        compression: u8,
        plain: usize,
        mut sealed: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        if plain > PLAIN_MAX {
            return Err(format!("damaged: slot {slot} claims {plain} plain bytes"));
        }
        let body = self
            .key
            .open_in_place(Self::nonce(slot), self.aad(slot, compression), &mut sealed)
            .map_err(|_| format!("tag: slot {slot} does not open under this key"))?
            .len();
        sealed.truncate(body);
        let opened = match compression {
            STORED => sealed,
            ZSTD => Decompressor::new()
                .and_then(|mut zstd| zstd.decompress(&sealed, plain))
                .map_err(|error| format!("damaged: slot {slot}: {error}"))?,
            other => return Err(format!("damaged: slot {slot} has compression {other}")),
        };
        if opened.len() != plain {
            return Err(format!(
                "damaged: slot {slot} holds {} bytes, not {plain}",
                opened.len()
            ));
        }
        Ok(opened)
    }

    /// Seals frames one behind the other into `pack` from `offset`; a batch at a time, its frames
    /// side by side.
    pub fn seal_into(
        &self,
        pack: &File,
        offset: u64,
        frames: &[SealInput],
    ) -> io::Result<Vec<SealedFrame>> {
        let mut placed = Vec::with_capacity(frames.len());
        let mut at = offset;
        for batch in batches(frames) {
            let sealed = batch
                .par_iter()
                .map_init(
                    || (Vec::new(), new_compressor()),
                    |(plain, compressor), frame| {
                        read_all(&frame.pieces, plain)?;
                        let (body, compression) = self.seal(compressor, frame.slot, plain);
                        Ok((frame.slot, plain.len() as u64, compression, body))
                    },
                )
                .collect::<io::Result<Vec<_>>>()?;
            let mut bytes = Vec::with_capacity(sealed.iter().map(|frame| frame.3.len()).sum());
            for (slot, plain, compression, body) in &sealed {
                placed.push(SealedFrame {
                    slot: *slot,
                    offset: at + bytes.len() as u64,
                    sealed: body.len() as u64,
                    plain: *plain,
                    compression: *compression,
                });
                bytes.extend_from_slice(body);
            }
            write_all(pack, &bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(placed)
    }
}

/// A compressor of the format's level.
pub fn new_compressor() -> Compressor<'static> {
    Compressor::new(ZSTD_LEVEL).expect("level 3 exists")
}

/// The compressed bytes, if they save at least one sixteenth.
fn compress(compressor: &mut Compressor, plain: &[u8]) -> Option<Vec<u8>> {
    let limit = plain.len() - plain.len().div_ceil(16);
    if limit == 0 {
        return None;
    }
    // A target this small makes zstd give up as soon as the gain is out of reach.
    let mut out = vec![0; limit];
    let length = compressor.compress_to_buffer(plain, &mut out[..]).ok()?;
    out.truncate(length);
    Some(out)
}

/// Consecutive frames of about `BATCH` plain bytes.
fn batches(frames: &[SealInput]) -> impl Iterator<Item = &[SealInput]> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|frame| {
                let fits = bytes < BATCH;
                bytes += total(&frame.pieces);
                fits
            })
            .count();
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        (count > 0).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::os::unix::fs::FileExt;

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&[7; 32], b"prefix")
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plain in proptest::collection::vec(0u8..4, 0..5000), slot: u32) {
            let (sealed, compression) = sealer().seal(&mut new_compressor(), slot, &plain);
            let saved = plain.len() + TAG - sealed.len();
            prop_assert!(compression == STORED || saved * 16 >= plain.len());
            prop_assert_eq!(sealer().open(slot, compression, plain.len(), sealed).unwrap(), plain);
        }

        #[test]
        fn nothing_else_opens(plain in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index) {
            let (sealed, compression) = sealer().seal(&mut new_compressor(), 5, &plain);
            let mut bent = sealed.clone();
            bent[at.index(sealed.len())] ^= 1;
            for (slot, compression, sealed) in [
                (5, compression, bent),
                (6, compression, sealed.clone()),
                (5, 1 - compression, sealed.clone()),
                (5, compression, sealed[..sealed.len() - 1].to_vec()),
            ] {
                let error = sealer().open(slot, compression, plain.len(), sealed).unwrap_err();
                prop_assert!(error.starts_with("tag:"));
            }
            let error = sealer().open(5, compression, plain.len() + 1, sealed).unwrap_err();
            prop_assert!(error.starts_with("damaged:"));
        }
    }

    #[test]
    fn frames_stand_end_to_end() {
        let path = std::env::temp_dir().join(format!("tuskfs-seal-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(&path).unwrap();
        let frames: Vec<_> = (0..300u32)
            .map(|slot| SealInput {
                slot,
                pieces: vec![Piece {
                    file: None,
                    offset: 0,
                    length: u64::from(slot) * 777,
                }],
            })
            .collect();
        let placed = sealer().seal_into(&file, 100, &frames).unwrap();
        let mut at = 100;
        for frame in placed {
            assert_eq!(frame.offset, at);
            let mut sealed = vec![0; frame.sealed as usize];
            file.read_exact_at(&mut sealed, at).unwrap();
            let plain = sealer()
                .open(frame.slot, frame.compression, frame.plain as usize, sealed)
                .unwrap();
            assert_eq!(plain, vec![0; frame.slot as usize * 777]);
            at += frame.sealed;
        }
    }
}
