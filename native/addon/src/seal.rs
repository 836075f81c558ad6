//! The `seal` section of src/native.ts. File descriptors are duplicated before a task leaves the
//! event loop, so that closing them meanwhile cannot make it read another file.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use tuskfs_codec::cut::{self, Cutter};
use tuskfs_codec::pieces;
use tuskfs_codec::seal::{self, Sealer};

use crate::pool::{promise, promise_to_reader};

/// A run of plain bytes: of an open file, or zeros where `fd` is −1.
#[napi(object)]
pub struct Piece {
    pub fd: i32,
    pub offset: i64,
    pub length: i64,
}

/// A frame as content-defined cutting found it.
#[napi(object)]
pub struct FrameCut {
    pub offset: i64,
    pub length: i64,
    pub identity: Buffer,
}

/// A frame to be sealed.
#[napi(object)]
pub struct SealInput {
    pub slot: u32,
    pub pieces: Vec<Piece>,
}

/// Where a sealed frame came to stand.
#[napi(object)]
pub struct SealedFrame {
    pub slot: u32,
    pub offset: i64,
    pub sealed_bytes: i64,
    pub plain_bytes: i64,
    pub compression: u8,
}

/// Sealed bytes in memory.
#[napi(object)]
pub struct SealedBytes {
    pub sealed: Buffer,
    pub compression: u8,
}

/// Duplicates of the files of one call, each once.
#[derive(Default)]
struct Files(HashMap<i32, Arc<File>>);

impl Files {
    fn get(&mut self, fd: i32) -> Result<Arc<File>> {
        if let Some(file) = self.0.get(&fd) {
            return Ok(file.clone());
        }
        if fd < 0 {
            return Err(Error::from_reason(format!("{fd} is no file descriptor")));
        }
        // SAFETY: the number is only handed to dup, which reports EBADF for one that is not open.
        let file = File::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
        let file = Arc::new(file);
        self.0.insert(fd, file.clone());
        Ok(file)
    }

    fn pieces(&mut self, list: Vec<Piece>) -> Result<Vec<pieces::Piece>> {
        list.into_iter()
            .map(|piece| {
                let file = match piece.fd {
                    -1 => None,
                    fd => Some(self.get(fd)?),
                };
                match (u64::try_from(piece.offset), u64::try_from(piece.length)) {
                    (Ok(offset), Ok(length)) => Ok(pieces::Piece {
                        file,
                        offset,
                        length,
                    }),
                    _ => Err(Error::from_reason("a piece with a negative place")),
                }
            })
            .collect()
    }
}

fn key32(key: &[u8]) -> Result<[u8; 32]> {
    key.try_into()
        .map_err(|_| Error::from_reason(format!("a key of {} bytes, not 32", key.len())))
}

#[napi]
pub fn cut_regions<'env>(
    env: &'env Env,
    gear_key: &[u8],
    identity_key: &[u8],
    regions: Vec<Vec<Piece>>,
) -> Result<Object<'env>> {
    let cutter = Cutter::new(&key32(gear_key)?, &key32(identity_key)?);
    let mut files = Files::default();
    let regions = regions
        .into_iter()
        .map(|region| files.pieces(region))
        .collect::<Result<Vec<_>>>()?;
    promise(env, move || {
        let cuts = cutter.regions(&regions)?;
        Ok(cuts
            .into_iter()
            .map(|frames| frames.into_iter().map(FrameCut::from).collect::<Vec<_>>())
            .collect::<Vec<_>>())
    })
}

impl From<cut::FrameCut> for FrameCut {
    fn from(frame: cut::FrameCut) -> Self {
        Self {
            offset: frame.offset as i64,
            length: frame.length as i64,
            identity: frame.identity.to_vec().into(),
        }
    }
}

#[napi]
pub fn hash_groups<'env>(
    env: &'env Env,
    key: &[u8],
    path: String,
    group_bytes: u32,
) -> Result<Object<'env>> {
    let key = key32(key)?;
    promise(env, move || {
        let hashes = cut::hash_groups(&key, &File::open(path)?, group_bytes as usize)?;
        Ok(Buffer::from(hashes.concat()))
    })
}

#[napi]
pub fn seal_frames<'env>(
    env: &'env Env,
    pack_fd: i32,
    offset: i64,
    key: &[u8],
    aad_prefix: &[u8],
    frames: Vec<SealInput>,
) -> Result<Object<'env>> {
    let sealer = Sealer::new(&key32(key)?, aad_prefix);
    let mut files = Files::default();
    let pack = files.get(pack_fd)?;
    let offset = u64::try_from(offset).map_err(|_| Error::from_reason("a negative offset"))?;
    let inputs = frames
        .into_iter()
        .map(|frame| {
            Ok(seal::SealInput {
                slot: frame.slot,
                pieces: files.pieces(frame.pieces)?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    promise(env, move || {
        let placed = sealer.seal_into(&pack, offset, &inputs)?;
        Ok(placed
            .into_iter()
            .map(SealedFrame::from)
            .collect::<Vec<_>>())
    })
}

impl From<seal::SealedFrame> for SealedFrame {
    fn from(frame: seal::SealedFrame) -> Self {
        Self {
            slot: frame.slot,
            offset: frame.offset as i64,
            sealed_bytes: frame.sealed as i64,
            plain_bytes: frame.plain as i64,
            compression: frame.compression,
        }
    }
}

#[napi]
pub fn seal_bytes<'env>(
    env: &'env Env,
    key: &[u8],
    aad_prefix: &[u8],
    slot: u32,
    plain: &[u8],
) -> Result<Object<'env>> {
    let sealer = Sealer::new(&key32(key)?, aad_prefix);
    let plain = plain.to_vec();
    promise(env, move || {
        let (sealed, compression) = sealer.seal(&mut seal::new_compressor(), slot, &plain);
        Ok(SealedBytes {
            sealed: sealed.into(),
            compression,
        })
    })
}

#[napi]
#[allow(clippy::too_many_arguments)] // the face in src/native.ts
pub fn open_frame<'env>(
    env: &'env Env,
    key: &[u8],
    aad_prefix: &[u8],
    slot: u32,
    compression: u8,
    plain_bytes: u32,
    sealed: &[u8],
    identity_key: Option<&[u8]>,
    identity: Option<&[u8]>,
) -> Result<Object<'env>> {
    let sealer = Sealer::new(&key32(key)?, aad_prefix);
    let expected = match (identity_key, identity) {
        (Some(key), Some(identity)) => Some((key32(key)?, key32(identity)?)),
        _ => None,
    };
    let sealed = sealed.to_vec();
    promise_to_reader(env, move || {
        let plain = sealer
            .open(slot, compression, plain_bytes as usize, sealed)
            .map_err(Error::from_reason)?;
        if let Some((key, identity)) = expected
            && cut::keyed_hash(&key, &plain) != identity
        {
            return Err(Error::from_reason(format!(
                "identity: slot {slot} opens but holds other bytes than its identity says"
            )));
        }
        Ok(Buffer::from(plain))
    })
}

#[napi]
pub fn keyed_hash(key: &[u8], data: &[u8]) -> Result<Buffer> {
    let hash = cut::keyed_hash(&key32(key)?, data);
    Ok(hash.to_vec().into())
}
