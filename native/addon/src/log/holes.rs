//! Holes of files that JavaScript has open.

use std::os::fd::BorrowedFd;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::files::failed;

/// A file descriptor owned by JavaScript, borrowed for one call.
fn borrowed(fd: i32) -> Result<BorrowedFd<'static>> {
    if fd < 0 {
        return Err(Error::from_reason(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the caller keeps the descriptor open for the length of the call.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// fallocate(PUNCH_HOLE | KEEP_SIZE).
#[napi]
pub fn punch_hole(fd: i32, offset: f64, length: f64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(borrowed(fd)?, flags, offset as u64, length as u64)
        .map_err(|errno| failed("punching a hole", "a file", errno))
}

fn seek_to(fd: i32, to: SeekFrom) -> Result<f64> {
    match seek(borrowed(fd)?, to) {
        Ok(at) => Ok(at as f64),
        Err(Errno::NXIO) => Ok(-1.0),
        Err(errno) => Err(failed("lseek", "a file", errno)),
    }
}

/// Next data at or after `offset`, −1 if none.
#[napi]
pub fn seek_data(fd: i32, offset: f64) -> Result<f64> {
    seek_to(fd, SeekFrom::Data(offset as u64))
}

/// Next hole at or after `offset`, −1 if none.
#[napi]
pub fn seek_hole(fd: i32, offset: f64) -> Result<f64> {
    seek_to(fd, SeekFrom::Hole(offset as u64))
}
