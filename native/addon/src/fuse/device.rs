//! One open /dev/fuse: non-blocking reads into one request buffer, replies from one reply
//! buffer, notifications from a thread of their own (the kernel may make them wait for an answer
//! of this very process).

use std::cell::RefCell;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, IoSlice, fcntl_setfd, read, write, writev};

use super::memory::Memory;
use super::pace::{Pace, now_ns};
use super::watch::Watch;

const PAGE: usize = 4096;
/// Header and fixed part of a WRITE. Requests are read so that its payload starts on a page.
const WRITE_HEAD: usize = 80;
/// Most views of one reply (IOV_MAX is 1024).
const VIEWS_MAX: usize = 1000;
/// Looks between two readings of the clock while spinning.
const LOOKS: u32 = 4;

/// Resolves the promise of a notification.
type Tell = Box<dyn FnOnce(i32) + Send>;
/// A message and whom to tell.
type Note = (Vec<u8>, Tell);

#[napi]
pub struct FuseDevice {
    fd: RefCell<Option<Arc<OwnedFd>>>,
    request: Arc<Memory>,
    reply: Arc<Memory>,
    pace: Rc<Pace>,
    watch: RefCell<Option<Watch>>,
    notifier: RefCell<Option<Sender<Note>>>,
}

#[napi]
impl FuseDevice {
    /// Takes over `fd`; `io_bytes` is the largest WRITE or reply body.
    #[napi(constructor)]
    pub fn new(fd: i32, io_bytes: u32) -> Result<Self> {
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let set = fcntl_getfl(&fd).and_then(|flags| fcntl_setfl(&fd, flags | OFlags::NONBLOCK));
        set.and_then(|()| fcntl_setfd(&fd, FdFlags::CLOEXEC))
            .map_err(|error| Error::from_reason(format!("the FUSE descriptor: {error}")))?;
        Ok(Self {
            fd: RefCell::new(Some(Arc::new(fd))),
            request: Memory::new(io_bytes as usize + 2 * PAGE)?,
            reply: Memory::new(io_bytes as usize + PAGE)?,
            pace: Rc::new(Pace::default()),
            watch: RefCell::new(None),
            notifier: RefCell::new(None),
        })
    }

    /// Where `next` puts requests. To be asked for once.
    #[napi]
    pub fn request<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        self.request.buffer(env, PAGE - WRITE_HEAD)
    }

    /// Where `send` takes replies from. To be asked for once.
    #[napi]
    pub fn reply<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        self.reply.buffer(env, 0)
    }

    /// Calls `callback` from the event loop whenever a request waits or the connection ended.
    #[napi]
    pub fn start(&self, env: &Env, callback: Function<(), ()>) -> Result<()> {
        let fd = self.open_fd()?;
        let watch = Watch::start(env, fd.as_raw_fd(), callback, Rc::clone(&self.pace))?;
        *self.watch.borrow_mut() = Some(watch);
        Ok(())
    }

    /// Begins a turn that the event loop has not asked for: who was answered late may ask again.
    #[napi]
    pub fn look(&self) {
        self.pace.looks_again();
    }

    /// Length of the request just read, 0 when it is the event loop's turn, or a negative errno.
    #[napi]
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
        let from = PAGE - WRITE_HEAD;
        let target = unsafe {
            std::slice::from_raw_parts_mut(self.request.pointer(from), self.request.len() - from)
        };
        let mut until = None;
        loop {
            for _ in 0..LOOKS {
                match read(fd, &mut *target) {
                    Ok(length) => {
                        self.pace.request_came(until.is_some());
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

    /// Sends the first `length` bytes of the reply buffer; 0 or a negative errno.
    #[napi]
    pub fn send(&self, length: u32) -> i32 {
        let guard = self.fd.borrow();
        let Some(fd) = guard.as_ref() else {
            return -Errno::NODEV.raw_os_error();
        };
        let length = (length as usize).min(self.reply.len());
        let bytes = unsafe { std::slice::from_raw_parts(self.reply.pointer(0), length) };
        outcome(write(fd, bytes))
    }

    /// Sends the first `length` bytes of the reply buffer and `views` behind them as one reply.
    #[napi]
    pub fn send_views(&self, length: u32, views: Vec<BufferSlice>) -> i32 {
        let guard = self.fd.borrow();
        let Some(fd) = guard.as_ref() else {
            return -Errno::NODEV.raw_os_error();
        };
        if views.len() > VIEWS_MAX {
            return -Errno::INVAL.raw_os_error();
        }
        let length = (length as usize).min(self.reply.len());
        let head = unsafe { std::slice::from_raw_parts(self.reply.pointer(0), length) };
        for view in &views {
            bring_in(view);
        }
        let mut parts = Vec::with_capacity(views.len() + 1);
        parts.push(IoSlice::new(head));
        parts.extend(views.iter().map(|view| IoSlice::new(view)));
        outcome(writev(fd, &parts))
    }

    /// Sends a notification from a thread that serves nothing; resolves to 0 or a negative errno.
    #[napi]
    pub fn notify<'env>(&self, env: &'env Env, message: BufferSlice) -> Result<Object<'env>> {
        let bytes = message.to_vec();
        let (deferred, promise) = env.create_deferred()?;
        let tell: Tell = Box::new(move |result| deferred.resolve(move |_| Ok(result)));
        let mut notifier = self.notifier.borrow_mut();
        let queue = match notifier.as_ref() {
            Some(queue) => queue,
            None => notifier.insert(start_notifier(self.open_fd()?.as_raw_fd())?),
        };
        queue
            .send((bytes, tell))
            .map_err(|_| Error::from_reason("the thread for notifications is gone"))?;
        Ok(promise)
    }

    /// Stops watching and closes the descriptor (a notification under way has a copy).
    #[napi]
    pub fn close(&self) {
        self.watch.borrow_mut().take();
        self.notifier.borrow_mut().take();
        self.fd.borrow_mut().take();
    }

    fn open_fd(&self) -> Result<Arc<OwnedFd>> {
        let guard = self.fd.borrow();
        guard
            .as_ref()
            .map(Arc::clone)
            .ok_or_else(|| Error::from_reason("the device is closed"))
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

fn outcome(written: rustix::io::Result<usize>) -> i32 {
    match written {
        Ok(_) => 0,
        Err(error) => -error.raw_os_error(),
    }
}

/// Sends notifications in order until the device is closed. One thread does what the kernel may make
/// wait, another, which shares the event loop's descriptors, says how it went.
fn start_notifier(fd: RawFd) -> Result<Sender<Note>> {
    let failed = |error| Error::from_reason(format!("a thread could not be started: {error}"));
    let (queue, messages) = channel::<Note>();
    let (sent, told) = channel::<(i32, Tell)>();
    std::thread::Builder::new()
        .name("tuskfs-notify".into())
        .spawn(move || told.into_iter().for_each(|(result, tell)| tell(result)))
        .map_err(failed)?;
    super::apart(Some(fd), move || {
        let device = unsafe { BorrowedFd::borrow_raw(fd) };
        for (bytes, tell) in messages {
            let _ = sent.send((outcome(write(device, &bytes)), tell));
        }
    })
    .map_err(failed)?;
    Ok(queue)
}
