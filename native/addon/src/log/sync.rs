//! Syncing segments on a thread of its own.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::fdatasync;
use rustix::thread::{Pid, gettid, sched_getcpu, sched_setaffinity};

use super::files::failed;
use super::{lock, locked, not_mapped};
use crate::fuse::beside::{both_processors, only};
use crate::fuse::pace::now_ns;
use crate::pool::not_started;

type Sync = Box<dyn FnOnce() + Send>;
/// Settles the promise of a sync.
type Tell = Box<dyn FnOnce(Result<()>) + Send>;

/// Looks at whether a sync is over between two looks at the clock.
const LOOKS: u32 = 256;

/// The thread that syncs segments. It is not one of the pool: callers wait for it, and must not
/// stand behind work that takes long or runs at a lower priority.
struct Syncer {
    queue: Sender<Sync>,
    thread: Pid,
    /// The one processor that it may use, if it is kept from others.
    apart: Mutex<Option<usize>>,
}

impl Syncer {
    fn running() -> Result<&'static Self> {
        static SYNCER: OnceLock<Syncer> = OnceLock::new();
        if let Some(syncer) = SYNCER.get() {
            return Ok(syncer);
        }
        let started = Self::start().map_err(not_started)?;
        Ok(SYNCER.get_or_init(|| started))
    }

    fn start() -> std::io::Result<Self> {
        let (queue, syncs) = channel::<Sync>();
        let (ready, begun) = sync_channel(1);
        std::thread::Builder::new()
            .name("tuskfs-sync".into())
            .spawn(move || {
                let _ = ready.send(gettid());
                syncs.into_iter().for_each(|sync| sync());
            })?;
        Ok(Self {
            queue,
            thread: begun.recv().map_err(std::io::Error::other)?,
            apart: Mutex::default(),
        })
    }

    /// Keeps the thread off the processor of a caller that looks for its end: the scheduler may
    /// think that processor right, and on two there is none that is idle.
    fn keep_apart(&self, from: Option<usize>) {
        let Some(processors) = both_processors() else {
            return;
        };
        let apart = from.and_then(|from| processors.iter().find(|other| **other != from).copied());
        let mut last = locked(&self.apart);
        if *last == apart {
            return;
        }
        if let Some(allowed) = only(apart) {
            // A processor that is gone: the thread stays where it is, which costs speed only.
            let _ = sched_setaffinity(Some(self.thread), &allowed);
        }
        *last = apart;
    }
}

/// A sync under way: its outcome, or whom to tell it.
#[derive(Default)]
struct Syncing {
    is_over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    UnderWay,
    Awaited(Tell),
    Over(Result<()>),
}

impl Syncing {
    fn ends(&self, outcome: Result<()>) {
        let mut state = locked(&self.state);
        match std::mem::take(&mut *state) {
            State::Awaited(tell) => tell(outcome),
            _ => *state = State::Over(outcome),
        }
        self.is_over.store(true, Ordering::Release);
    }

    /// Looks for the end until `end`, or until `company` can be read.
    fn look_until(&self, end: u64, company: i32) {
        while now_ns() < end && !has_come(company) {
            for _ in 0..LOOKS {
                if self.is_over.load(Ordering::Acquire) {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }

    fn outcome(&self) -> Option<Result<()>> {
        match std::mem::take(&mut *locked(&self.state)) {
            State::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    fn tell(&self, tell: Tell) {
        let mut state = locked(&self.state);
        match std::mem::take(&mut *state) {
            State::Over(outcome) => tell(outcome),
            _ => *state = State::Awaited(tell),
        }
    }
}

fn has_several_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

fn has_come(company: i32) -> bool {
    if company < 0 {
        return false;
    }
    // SAFETY: the caller keeps the descriptor open for the length of the call.
    let device = unsafe { BorrowedFd::borrow_raw(company) };
    let mut looked = [PollFd::new(&device, PollFlags::IN)];
    poll(&mut looked, Some(&Timespec::default())) != Ok(0)
}

/// fdatasync on a thread of its own. If it takes at most `patience` microseconds, and nothing can be
/// read from `company` (−1: of no interest) meanwhile, it is over when this returns null: being told
/// by the event loop takes as long as a good disk. On one processor nobody waits like that.
#[napi]
pub fn segment_sync<'env>(
    env: &'env Env,
    handle: u32,
    patience: u32,
    company: i32,
) -> Result<Option<Object<'env>>> {
    let file = lock().get(&handle).map(|segment| segment.file.clone());
    let file = file.ok_or_else(not_mapped)?;
    let syncing = Arc::new(Syncing::default());
    let own = Arc::clone(&syncing);
    let sync: Sync = Box::new(move || {
        let failed = |errno| failed("fdatasync", "a segment", errno);
        own.ends(fdatasync(&*file).map_err(failed));
    });
    let syncer = Syncer::running()?;
    let waits = patience > 0 && has_several_processors();
    syncer.keep_apart(waits.then(sched_getcpu));
    syncer
        .queue
        .send(sync)
        .map_err(|_| Error::from_reason("the thread that syncs segments is gone"))?;
    if waits {
        syncing.look_until(now_ns() + u64::from(patience) * 1000, company);
        if let Some(outcome) = syncing.outcome() {
            return outcome.map(|()| None);
        }
    }
    let (deferred, promise) = env.create_deferred()?;
    syncing.tell(Box::new(move |outcome| match outcome {
        Ok(()) => deferred.resolve(|_| Ok(())),
        Err(error) => deferred.reject(error),
    }));
    Ok(Some(promise))
}
