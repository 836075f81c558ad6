//! Segment files: made with all their blocks, opened, and what is said of failures.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tuskfs_codec::pieces::write_all;

use crate::pool::{enter_background, promise_of_thread};

/// Zeros are written in steps of this size.
const STEP: usize = 256 * 1024;
/// Ahead of need they are written so much at a time, and then the disk is left to others for as long
/// as that took: a sync waits for everything that the disk was given before.
const FILL_STEP: usize = 1 << 20;

/// A Node.js style message: it starts with the name of the errno, so that callers can tell a full disk.
pub fn failed(what: &str, path: &str, errno: Errno) -> Error {
    let name = match errno {
        Errno::NOSPC => "ENOSPC",
        Errno::DQUOT => "EDQUOT",
        Errno::NOENT => "ENOENT",
        Errno::ACCESS => "EACCES",
        Errno::MFILE => "EMFILE",
        Errno::ROFS => "EROFS",
        _ => "EIO",
    };
    Error::from_reason(format!("{name}: {what} of {path}: {errno}"))
}

pub fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn open(path: &str, create: bool) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed("opening", path, errno_of(&error)))
}

fn write_zeros(file: &File, bytes: u64) -> std::io::Result<()> {
    let zeros = vec![0u8; STEP];
    let mut at = 0;
    while at < bytes {
        let n = (bytes - at).min(STEP as u64) as usize;
        file.write_all_at(&zeros[..n], at)?;
        at += n as u64;
    }
    Ok(())
}

/// Allocates every block of a file of `bytes`; it is not left behind on failure.
fn allocate(path: &str, bytes: u64, create: bool) -> Result<File> {
    let file = open(path, create)?;
    let done = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            write_zeros(&file, bytes).map_err(|error| errno_of(&error))
        }
        other => other,
    };
    match done {
        Ok(()) => Ok(file),
        Err(errno) => {
            let _ = std::fs::remove_file(path);
            Err(failed("allocating", path, errno))
        }
    }
}

/// Creates a segment file with all its blocks allocated (not yet written): microseconds on file
/// systems with extents. ENOSPC throws and leaves no file behind.
#[napi]
pub fn segment_allocate(path: String, bytes: f64) -> Result<()> {
    allocate(&path, bytes as u64, true).map(|_| ())
}

/// As `write_zeros`, little by little, onto the disk; a file whose name is gone is wanted no more.
fn fill(file: &File, bytes: u64) -> std::io::Result<()> {
    let zeros = vec![0u8; FILL_STEP];
    for at in (0..bytes).step_by(FILL_STEP) {
        if file.metadata()?.nlink() == 0 {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let begun = Instant::now();
        let n = (bytes - at).min(FILL_STEP as u64) as usize;
        write_all(file, &zeros[..n], at)?;
        // SAFETY: no memory is involved. It only hastens what the sync at the end does.
        unsafe { libc::sync_file_range(file.as_raw_fd(), at as i64, n as i64, ONTO_DISK) };
        std::thread::sleep(begun.elapsed());
    }
    file.sync_all()
}

const ONTO_DISK: libc::c_uint = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

fn prepare(path: &str, bytes: u64) -> Result<()> {
    let file = allocate(path, bytes, false)?;
    fill(&file, bytes).map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed("filling", path, errno_of(&error))
    })?;
    sync_parent(path)
}

/// Writes zeros over a file that is to be a segment; it and its name survive power loss then. On a
/// thread of its own, which rests half of the time; it ends when the file's name is removed, and does
/// not begin when it has been.
#[napi]
pub fn segment_prepare<'env>(env: &'env Env, path: String, bytes: f64) -> Result<Object<'env>> {
    promise_of_thread(env, "tuskfs-fill", move || {
        enter_background();
        prepare(&path, bytes as u64)
    })
}

fn sync_parent(path: &str) -> Result<()> {
    let parent = Path::new(path).parent().unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| failed("syncing the directory", path, errno_of(&error)))
}

/// Opens a segment for mapping, and allocates what blocks it lacks: a power loss may have taken
/// them, or somebody copied it with holes. Its bytes stay as they are.
pub fn open_whole(path: &str) -> Result<(File, usize)> {
    let file = open(path, false)?;
    let facts = file
        .metadata()
        .map_err(|error| failed("reading the size", path, errno_of(&error)))?;
    let bytes = facts.len() as usize;
    if bytes == 0 {
        return Err(Error::from_reason(format!("EIO: {path} is empty")));
    }
    if facts.blocks() * 512 < facts.len() {
        fallocate(&file, FallocateFlags::empty(), 0, facts.len())
            .map_err(|errno| failed("allocating the missing blocks", path, errno))?;
    }
    Ok((file, bytes))
}
