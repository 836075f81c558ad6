//! One open /dev/fuse: non-blocking reads into one request buffer, replies from one reply
//! buffer, notifications from a thread of their own (the kernel may make them wait for an answer
//! of this very process).

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
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

type Job = Box<dyn FnOnce() + Send>;

#[napi]
pub struct FuseDevice {
    fd: RefCell<Option<Arc<OwnedFd>>>,
    request: Arc<Memory>,
    reply: Arc<Memory>,
    pace: Rc<Pace>,
    watch: RefCell<Option<Watch>>,
    notifier: OnceCell<Sender<Job>>,
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
            notifier: OnceCell::new(),
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
        let mut parts = Vec::with_capacity(views.len() + 1);
        parts.push(IoSlice::new(head));
        parts.extend(views.iter().map(|view| IoSlice::new(view)));
        outcome(writev(fd, &parts))
    }

    /// Sends a notification from a thread that serves nothing; resolves to 0 or a negative errno.
    #[napi]
    pub fn notify<'env>(&self, env: &'env Env, message: BufferSlice) -> Result<Object<'env>> {
        let fd = self.open_fd()?;
        let bytes = message.to_vec();
        let (deferred, promise) = env.create_deferred()?;
        let job: Job = Box::new(move || {
            let result = outcome(write(&fd, &bytes));
            deferred.resolve(move |_| Ok(result));
        });
        let queue = match self.notifier.get() {
            Some(queue) => queue,
            None => {
                let started = start_notifier()?;
                self.notifier.get_or_init(|| started)
            }
        };
        queue
            .send(job)
            .map_err(|_| Error::from_reason("the thread for notifications is gone"))?;
        Ok(promise)
    }

    /// Stops watching and closes the descriptor (unless a notification still uses it).
    #[napi]
    pub fn close(&self) {
        self.watch.borrow_mut().take();
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

fn outcome(written: rustix::io::Result<usize>) -> i32 {
    match written {
        Ok(_) => 0,
        Err(error) => -error.raw_os_error(),
    }
}

/// A thread that runs jobs in order until the device is gone.
fn start_notifier() -> Result<Sender<Job>> {
    let (queue, jobs) = channel::<Job>();
    std::thread::Builder::new()
        .name("tuskfs-notify".into())
        .spawn(move || jobs.into_iter().for_each(|job| job()))
        .map_err(|error| Error::from_reason(format!("a thread could not be started: {error}")))?;
    Ok(queue)
}
