//! The `log` section of src/native.ts: memory-mapped segments of the local log, and checksums.
//!
//! Invariant: a mapping never outlives its pages. `segment_unmap` puts anonymous zero pages in
//! place of the file, so a view kept by mistake reads zeros instead of crashing the process; the
//! address range itself is given back when JavaScript collects the buffer. Only files whose every
//! block is allocated are mapped, so that a full disk can never become a SIGBUS.

mod files;
mod holes;
mod sync;

use std::collections::HashMap;
use std::ffi::c_void;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::io::{IoSlice, pwritev};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::sums::{Found, Sums};
use crate::window::Window;
use files::{errno_of, failed, open_whole};

/// Bytes are copied in steps of this size.
const STEP: usize = 256 * 1024;
const PAGE: usize = 4096;
static ZEROS: [u8; PAGE] = [0; PAGE];

/// A segment that is mapped now.
struct Mapped {
    file: Arc<File>,
    at: usize,
    bytes: usize,
    sums: Arc<Mutex<Sums>>,
    /// A buffer of JavaScript shows the range: it is given back when that is collected.
    viewed: bool,
}

fn mapped() -> &'static Mutex<HashMap<u32, Mapped>> {
    static MAPPED: OnceLock<Mutex<HashMap<u32, Mapped>>> = OnceLock::new();
    MAPPED.get_or_init(Default::default)
}

fn lock() -> MutexGuard<'static, HashMap<u32, Mapped>> {
    locked(mapped())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checksums of segments that are not mapped at the moment, by the handle of their last mapping.
fn kept() -> MutexGuard<'static, HashMap<u32, Arc<Mutex<Sums>>>> {
    static KEPT: OnceLock<Mutex<HashMap<u32, Arc<Mutex<Sums>>>>> = OnceLock::new();
    locked(KEPT.get_or_init(Default::default))
}

/// What `segmentMap` returns.
#[napi(object)]
pub struct SegmentMapping {
    pub handle: u32,
    pub fd: i32,
    pub bytes: u32,
}

/// Maps a segment shared and writable, once every block of it is allocated; `before` is the handle
/// of a mapping of the same file that was undone, but whose checksums were kept. `end`: the log of
/// an earlier process ends there, and is gone on with.
#[napi]
pub fn segment_map(path: String, before: Option<u32>, end: Option<u32>) -> Result<SegmentMapping> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (file, bytes) = open_whole(&path)?;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
    let at = unsafe {
        mmap(
            std::ptr::null_mut(),
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            &file,
            0,
        )
    }
    .map_err(|errno| failed("mapping", &path, errno))?;
    let handle = NEXT.fetch_add(1, Ordering::Relaxed);
    let fd = file.as_raw_fd();
    let sums: Arc<Mutex<Sums>> = before
        .and_then(|before| kept().remove(&before))
        .unwrap_or_default();
    if let Some(end) = end {
        locked(&sums).continues(end as usize);
    }
    let segment = Mapped {
        file: Arc::new(file),
        at: at as usize,
        bytes,
        sums,
        viewed: false,
    };
    lock().insert(handle, segment);
    Ok(SegmentMapping {
        handle,
        fd,
        bytes: bytes as u32,
    })
}

/// The mapped bytes as a buffer; to be asked for once. JavaScript counts it as memory of its own,
/// which starts a collection now and then: writing does without.
#[napi]
pub fn segment_view<'env>(env: &'env Env, handle: u32) -> Result<BufferSlice<'env>> {
    let (at, bytes) = {
        let mut segments = lock();
        let segment = segments.get_mut(&handle).ok_or_else(not_mapped)?;
        if std::mem::replace(&mut segment.viewed, true) {
            return Err(Error::from_reason("the segment has a view already"));
        }
        (segment.at, segment.bytes)
    };
    // SAFETY: the range stays mapped (file or zeros) until the finalizer, which runs once, after
    // the buffer that showed it is gone.
    unsafe {
        BufferSlice::from_external(
            env,
            at as *mut u8,
            bytes,
            (handle, at, bytes),
            |_, (handle, at, bytes)| {
                lock().remove(&handle);
                let _ = munmap(at as *mut c_void, bytes);
            },
        )
    }
}

/// Shows another segment file in the place of one that is mapped, its view included: a reader
/// that goes from file to file needs one range of addresses. False if the sizes differ.
#[napi]
pub fn segment_remap(handle: u32, path: String) -> Result<bool> {
    let (file, bytes) = open_whole(&path)?;
    let at = {
        let segments = lock();
        let segment = segments.get(&handle).ok_or_else(not_mapped)?;
        if segment.bytes != bytes {
            return Ok(false);
        }
        segment.at
    };
    // SAFETY: the range belongs to this mapping, whose one owner is the caller; MAP_FIXED swaps
    // its pages. The lock is not held: dropping the old pages takes a while.
    unsafe {
        mmap(
            at as *mut c_void,
            bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::FIXED,
            &file,
            0,
        )
    }
    .map_err(|errno| failed("mapping", &path, errno))?;
    if let Some(segment) = lock().get_mut(&handle) {
        segment.file = Arc::new(file);
        segment.sums = Arc::default();
    }
    Ok(true)
}

fn not_mapped() -> Error {
    Error::from_reason("EIO: the segment is not mapped")
}

/// Writes a record at `at` of a mapped segment: `head`, which starts with 4 bytes of magic and 4
/// for the checksum, then `data` at `data_at`. The checksum is the crc32c of everything behind it,
/// continuing from `seed`; it is put into `head` and returned.
///
/// Written by system calls, not through the mapping: after each sync the first store to a page is
/// a fault, and the sync itself must then take the page away from every thread (2 to 3 times the
/// time of a synced record). A write that fails, which allocated blocks rule out but for a broken
/// disk, is made through the mapping, where it cannot go unnoticed.
#[napi]
pub fn segment_append(
    handle: u32,
    at: u32,
    mut head: BufferSlice,
    data_at: u32,
    data: &[u8],
    seed: u32,
) -> Result<u32> {
    let (file, start, bytes, sums) = {
        let segments = lock();
        let segment = segments.get(&handle).ok_or_else(not_mapped)?;
        let (file, sums) = (Arc::clone(&segment.file), Arc::clone(&segment.sums));
        (file, segment.at, segment.bytes, sums)
    };
    let (at, data_at) = (at as usize, data_at as usize);
    let head = head.as_mut();
    let head_end = at + head.len();
    let end = data_at.max(head_end) + data.len();
    if head.len() < 8 || end > bytes || (data_at < head_end && !data.is_empty()) {
        return Err(Error::from_reason(format!(
            "a record [{at}, {end}) in {bytes} bytes"
        )));
    }
    // SAFETY: the range is mapped and writable until its one owner, the caller, unmaps it.
    let target = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, bytes) };
    let mut crc = crc32c::crc32c_append(seed, &head[8..]);
    let follows = data_at == head_end && data.len() <= STEP;
    // Held until all is written: what is noted may be verified on another thread, from the file.
    let mut sums = locked(&sums);
    if at == 0 {
        sums.start();
    } else if !data.is_empty() {
        let mut written = 0;
        crc = sums.add(data_at, data, crc, |done, piece| {
            let end = done + piece.len();
            if !follows && (end - written >= STEP || end == data.len()) {
                put(&file, target, data_at + written, &[&data[written..end]]);
                written = end;
            }
        });
    }
    head[4..8].copy_from_slice(&crc.to_le_bytes());
    let parts: [&[u8]; 2] = [head, if follows { data } else { &[] }];
    put(&file, target, at, &parts);
    Ok(crc)
}

/// Writes `parts` one after the other at `at` of a segment. Pages that they are the first in are
/// filled up with zeros: a page that is written in part, but not in memory, is read from the disk.
fn put(file: &File, target: &mut [u8], at: usize, parts: &[&[u8]]) {
    let end = at + parts.iter().map(|part| part.len()).sum::<usize>();
    let whole = end.next_multiple_of(PAGE).min(target.len());
    let filling = if end > at.next_multiple_of(PAGE) {
        whole - end
    } else {
        0
    };
    let mut slices: Vec<IoSlice> = parts.iter().map(|part| IoSlice::new(part)).collect();
    slices.push(IoSlice::new(&ZEROS[..filling]));
    if pwritev(file, &slices, at as u64).is_ok_and(|written| at + written == end + filling) {
        return;
    }
    let mut at = at;
    for part in parts {
        target[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Closes the file and gives the range back, or puts zero pages in its place while a view shows it.
/// With `keep`, the checksums stay for the next mapping of the file; to be called again without it
/// if there will be none.
#[napi]
pub fn segment_unmap(handle: u32, keep: Option<bool>) -> Result<()> {
    let Some(segment) = lock().remove(&handle) else {
        kept().remove(&handle);
        return Ok(());
    };
    if keep == Some(true) {
        kept().insert(handle, segment.sums);
    }
    let at = segment.at as *mut c_void;
    // SAFETY: the range belongs to this mapping alone, or, if there is a view, until that is
    // collected; MAP_FIXED swaps its pages.
    unsafe {
        if segment.viewed {
            let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
            mmap_anonymous(at, segment.bytes, ProtFlags::READ, flags).map(|_| ())
        } else {
            munmap(at, segment.bytes)
        }
    }
    .map_err(|errno| failed("unmapping", "a segment", errno))
}

/// Do the bytes [from, to) of records' data match their checksums? 0: yes; 1: no, or they are
/// no record's; 2: they were written before this process came: `segmentVerify` finds out.
#[napi]
pub fn segment_check(handle: u32, from: u32, to: u32) -> Result<u8> {
    let (start, bytes, sums) = {
        let segments = lock();
        let segment = segments.get(&handle).ok_or_else(not_mapped)?;
        (segment.at, segment.bytes, Arc::clone(&segment.sums))
    };
    // SAFETY: the range is mapped until its one owner, the caller, unmaps it.
    let segment = unsafe { std::slice::from_raw_parts(start as *const u8, bytes) };
    Ok(
        match locked(&sums).check(segment, from as usize, to as usize) {
            Found::Sound => 0,
            Found::Damaged => 1,
            Found::Unknown => 2,
        },
    )
}

/// Reads a whole segment, on a pool; afterwards `segmentCheck` knows all of it. Resolves with the
/// ranges of data that do not match, as [from, to, from, to …].
#[napi]
pub fn segment_verify<'env>(env: &'env Env, handle: u32) -> Result<Object<'env>> {
    let (file, bytes, sums) = {
        let segments = lock();
        let segment = segments.get(&handle).ok_or_else(not_mapped)?;
        let (file, sums) = (Arc::clone(&segment.file), Arc::clone(&segment.sums));
        (file, segment.bytes, sums)
    };
    crate::pool::promise_to_reader(env, move || {
        let is_whole = locked(&sums).is_whole();
        let unread = |error| failed("reading", "a segment", errno_of(&error));
        let read = || Window::new(Arc::clone(&file), bytes);
        let found = match is_whole {
            true => Sums::default(),
            false => Sums::of(read()).map_err(unread)?,
        };
        let sums = {
            let mut sums = locked(&sums);
            sums.complete(found);
            sums.clone()
        };
        let damaged = sums.damaged(read()).map_err(unread)?;
        Ok(damaged
            .into_iter()
            .flat_map(|(from, to)| [from as u32, to as u32])
            .collect::<Vec<_>>())
    })
}

fn slice(data: &[u8], from: u32, to: u32) -> Result<&[u8]> {
    data.get(from as usize..to as usize)
        .ok_or_else(|| Error::from_reason(format!("[{from}, {to}) of {} bytes", data.len())))
}

/// crc32c of `data[from, to)` continuing from `seed`.
#[napi(js_name = "crc32c")]
pub fn crc32c(data: &[u8], from: u32, to: u32, seed: u32) -> Result<u32> {
    Ok(crc32c::crc32c_append(seed, slice(data, from, to)?))
}
