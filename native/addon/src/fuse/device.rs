//! One open /dev/fuse for JavaScript; notifications are sent from a thread of their own (the kernel
//! may make them wait for an answer of this very process).

use std::cell::RefCell;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd, write};

use super::watch::Watch;
use super::wire::{REQUEST_AT, Wire, outcome};
use crate::pool::not_started;

/// Resolves the promise of a notification.
type Tell = Box<dyn FnOnce(i32) + Send>;
/// A message and whom to tell.
type Note = (Vec<u8>, Tell);

/// What is called for every request.
#[napi(object, object_from_js = false)]
pub struct Calls<'env> {
    pub next: Function<'env, (), i32>,
    pub send: Function<'env, (), i32>,
}

#[napi]
pub struct FuseDevice {
    wire: Rc<Wire>,
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
            wire: Rc::new(Wire::new(fd, io_bytes as usize)?),
            watch: RefCell::new(None),
            notifier: RefCell::new(None),
        })
    }

    /// Number of the descriptor, −1 once it is closed: readable while a request waits.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        self.open_fd().map_or(-1, |fd| fd.as_raw_fd())
    }

    /// Where `next` puts requests. To be asked for once.
    #[napi]
    pub fn request<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        self.wire.request.buffer(env, REQUEST_AT)
    }

    /// Where `send` takes replies from. To be asked for once.
    #[napi]
    pub fn reply<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        self.wire.reply.buffer(env, 0)
    }

    /// Calls `callback` from the event loop whenever a request waits or the connection ended.
    #[napi]
    pub fn start(&self, env: &Env, callback: Function<(), ()>) -> Result<()> {
        let fd = self.open_fd()?;
        super::helpers::give_way();
        let watch = Watch::start(env, fd.as_raw_fd(), callback, Rc::clone(&self.wire.pace))?;
        *self.watch.borrow_mut() = Some(watch);
        Ok(())
    }

    /// Begins a turn that the event loop has not asked for: who was answered late may ask again.
    #[napi]
    pub fn look(&self) {
        self.wire.pace.looks_again();
    }

    /// `next` and `send` as plain functions: looking a method's object up costs more than they do.
    #[napi]
    pub fn calls<'env>(&self, env: &'env Env) -> Result<Calls<'env>> {
        let (reads, sends) = (Rc::clone(&self.wire), Rc::clone(&self.wire));
        Ok(Calls {
            next: env.create_function_from_closure("next", move |_| Ok(reads.next()))?,
            send: env.create_function_from_closure("send", move |_| Ok(sends.send()))?,
        })
    }

    /// Sends the first `length` bytes of the reply buffer and `views` behind them as one reply.
    #[napi]
    pub fn send_views(&self, length: u32, views: Vec<BufferSlice>) -> i32 {
        self.wire.send_views(length as usize, &views)
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
        self.wire.fd.borrow_mut().take();
    }

    fn open_fd(&self) -> Result<Arc<OwnedFd>> {
        let guard = self.wire.fd.borrow();
        guard
            .as_ref()
            .map(Arc::clone)
            .ok_or_else(|| Error::from_reason("the device is closed"))
    }
}

/// Sends notifications in order until the device is closed. One thread does what the kernel may make
/// wait, another, which shares the event loop's descriptors, says how it went.
fn start_notifier(fd: RawFd) -> Result<Sender<Note>> {
    let (queue, messages) = channel::<Note>();
    let (sent, told) = channel::<(i32, Tell)>();
    std::thread::Builder::new()
        .name("tuskfs-notify".into())
        .spawn(move || told.into_iter().for_each(|(result, tell)| tell(result)))
        .map_err(not_started)?;
    super::apart(Some(fd), move || {
        let device = unsafe { BorrowedFd::borrow_raw(fd) };
        for (bytes, tell) in messages {
            let _ = sent.send((outcome(write(device, &bytes)), tell));
        }
    })
    .map_err(not_started)?;
    Ok(queue)
}
