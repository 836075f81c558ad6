//! What outlives a daemon: descriptors that its keeper holds and hands to the next one. A lock of
//! flock(2) and a listening socket belong to all who have a copy of their descriptor.

use napi_derive::napi;
use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open, unlink};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

/// Connections that wait while no daemon takes them.
const BACKLOG: i32 = 64;

fn number(made: Result<OwnedFd>) -> i32 {
    match made {
        Ok(fd) => fd.into_raw_fd(),
        Err(error) => -error.raw_os_error(),
    }
}

/// Locks the file at `path`, made if absent; the descriptor, or a negative errno.
#[napi]
pub fn lock_file(path: String) -> i32 {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    number(open(path, flags, Mode::RUSR | Mode::WUSR).and_then(|file| {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(file)
    }))
}

/// Gives the lock behind a descriptor back, for all who have a copy of it.
#[napi]
pub fn unlock_file(fd: i32) {
    let file = unsafe { BorrowedFd::borrow_raw(fd) };
    // A descriptor that holds no lock any more has nothing to give back.
    let _ = flock(file, FlockOperation::Unlock);
}

/// Listens at `path`, in the place of a socket that was left there; the descriptor, or a negative errno.
#[napi]
pub fn listen_unix(path: String) -> i32 {
    number(listening(&path))
}

fn listening(path: &str) -> Result<OwnedFd> {
    match unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
