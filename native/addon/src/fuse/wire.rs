//! Requests and replies of one open /dev/fuse: non-blocking reads into one request buffer, replies
//! from one reply buffer.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use napi::bindgen_prelude::*;
use rustix::io::{Errno, IoSlice, read, write, writev};

use super::beside::Beside;
use super::memory::Memory;
use super::pace::{Pace, now_ns};

const PAGE: usize = 4096;
/// Header and fixed part of a WRITE. Requests are read so that its payload starts on a page.
const WRITE_HEAD: usize = 80;
/// Where requests begin in their buffer.
pub const REQUEST_AT: usize = PAGE - WRITE_HEAD;
/// `opcode` and `pid` of fuse_in_header, and `size` of fuse_read_in and fuse_write_in.
const OPCODE_AT: usize = 4;
const PID_AT: usize = 32;
const SIZE_AT: usize = 56;
const READ_AND_WRITE: [u32; 2] = [15, 16];
/// Who reads or writes more than this at once goes on while the front works (reading ahead, writing
/// back), and is better off on a processor of its own.
const SMALL_BYTES: u32 = 64 << 10;
/// Most views of one reply (IOV_MAX is 1024).
const VIEWS_MAX: usize = 1000;
/// Looks between two readings of the clock while spinning.
const LOOKS: u32 = 4;

pub struct Wire {
    pub fd: RefCell<Option<Arc<OwnedFd>>>,
    pub request: Arc<Memory>,
    pub reply: Arc<Memory>,
    pub pace: Rc<Pace>,
    beside: Option<Beside>,
}

impl Wire {
    /// `io_bytes` is the largest WRITE or reply body.
    pub fn new(fd: OwnedFd, io_bytes: usize) -> Result<Self> {
        Ok(Self {
            fd: RefCell::new(Some(Arc::new(fd))),
            request: Memory::new(io_bytes + 2 * PAGE)?,
            reply: Memory::new(io_bytes + PAGE)?,
            pace: Rc::new(Pace::default()),
            beside: Beside::on_two_processors(),
        })
    }

    /// Length of the request just read, 0 when it is the event loop's turn, or a negative errno.
    pub fn next(&self) -> i32 {
        let guard = self.fd.borrow();
        let Some(fd) = guard.as_ref() else {
            return -Errno::NODEV.raw_os_error();
        };
        let mut now = now_ns();
        if !self.pace.turn_lasts(now) {
            self.pace.turn_ends(now, false);
            return 0;
        }
        let room = self.request.len() - REQUEST_AT;
        let target =
            unsafe { std::slice::from_raw_parts_mut(self.request.pointer(REQUEST_AT), room) };
        let mut until = None;
        loop {
            for _ in 0..LOOKS {
                match read(fd, &mut *target) {
                    Ok(length) => {
                        self.request_came(now, until.is_some());
                        return length as i32;
                    }
                    Err(Errno::AGAIN) => std::hint::spin_loop(),
                    // Interrupted before it was read, or refused by the kernel itself: none of ours.
                    Err(Errno::INTR | Errno::NOENT | Errno::IO) => {}
                    Err(error) => return -error.raw_os_error(),
                }
                if until.is_none() {
                    break;
                }
            }
            let spun = until.is_some();
            let end = *until.get_or_insert_with(|| self.pace.look_until(now));
            now = now_ns();
            if now >= end {
                self.pace.turn_ends(now, spun);
                return 0;
            }
        }
    }

    fn request_came(&self, now: u64, spun: bool) {
        let thread = self.word(PID_AT);
        let beside = self
            .beside
            .as_ref()
            .filter(|beside| self.has_waiter() && beside.is_alone(thread));
        self.pace.request_came(spun, beside.is_some());
        if let Some(beside) = beside.filter(|_| self.pace.is_lively()) {
            beside.request_came(now, thread);
        }
    }

    /// False for a request whose sender does something else while it is served.
    fn has_waiter(&self) -> bool {
        !READ_AND_WRITE.contains(&self.word(OPCODE_AT)) || self.word(SIZE_AT) <= SMALL_BYTES
    }

    /// A word of the request just read.
    fn word(&self, at: usize) -> u32 {
        let word = self.request.pointer(REQUEST_AT + at).cast::<u32>();
        // SAFETY: the buffer is longer than any header; bytes of an earlier request do no harm.
        unsafe { word.read_unaligned() }
    }

    /// Sends the reply buffer as far as its header says; 0 or a negative errno.
    pub fn send(&self) -> i32 {
        let guard = self.fd.borrow();
        let Some(fd) = guard.as_ref() else {
            return -Errno::NODEV.raw_os_error();
        };
        outcome(write(fd, self.head(self.said_length())))
    }

    /// Sends the first `length` bytes of the reply buffer and `views` behind them as one reply.
    pub fn send_views(&self, length: usize, views: &[BufferSlice]) -> i32 {
        let guard = self.fd.borrow();
        let Some(fd) = guard.as_ref() else {
            return -Errno::NODEV.raw_os_error();
        };
        if views.len() > VIEWS_MAX {
            return -Errno::INVAL.raw_os_error();
        }
        for view in views {
            bring_in(view);
        }
        let mut parts = Vec::with_capacity(views.len() + 1);
        parts.push(IoSlice::new(self.head(length)));
        parts.extend(views.iter().map(|view| IoSlice::new(view)));
        outcome(writev(fd, &parts))
    }

    /// The first word of fuse_out_header.
    fn said_length(&self) -> usize {
        let word = unsafe { self.reply.pointer(0).cast::<u32>().read() };
        word as usize
    }

    fn head(&self, length: usize) -> &[u8] {
        let length = length.min(self.reply.len());
        unsafe { std::slice::from_raw_parts(self.reply.pointer(0), length) }
    }
}

/// Touches every page of mapped bytes. The kernel copies from pages that are there even while the
/// process is being killed; bringing one in would fail then, and with it the program that reads.
fn bring_in(bytes: &[u8]) {
    for page in bytes.chunks(PAGE) {
        std::hint::black_box(unsafe { std::ptr::read_volatile(page.as_ptr()) });
    }
    if let Some(last) = bytes.last() {
        std::hint::black_box(unsafe { std::ptr::read_volatile(last) });
    }
}

pub fn outcome(written: rustix::io::Result<usize>) -> i32 {
    match written {
        Ok(_) => 0,
        Err(error) => -error.raw_os_error(),
    }
}
