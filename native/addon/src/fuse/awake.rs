//! A thread that keeps one processor from being idle while requests come one after another, and
//! meanwhile keeps the front's helpers on it, off the front's.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::sync_channel;
use std::thread::Thread;
use std::time::Duration;

use rustix::thread::{Pid, gettid, sched_setaffinity};

use super::beside::only;
use super::helpers::Helpers;
use super::pace::now_ns;
use crate::pool::give_way;

/// How long it stays after the last request.
const STAY_NS: u64 = 1_000_000;
/// How long the helpers are still kept then: requests may come again.
const KEPT: Duration = Duration::from_millis(20);
/// Turns of the processor between two looks at the clock.
const TURNS: u32 = 64;
/// The lowest priority that is not SCHED_IDLE, which would count as idle.
const NICE: i32 = 19;

/// The thread and what it is told. It ends when this is dropped.
pub struct Awake {
    shared: Arc<Shared>,
    thread: Thread,
    id: Pid,
}

#[derive(Default)]
struct Shared {
    until: AtomicU64,
    /// One more than the number of the processor that the thread is to be on; 0: any.
    processor: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Awake {
    /// None if the thread could not be started.
    pub fn start() -> Option<Self> {
        let shared = Arc::new(Shared::default());
        let (ready, begun) = sync_channel(1);
        let own = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("tuskfs-awake".into())
            .spawn(move || {
                // Said first: the front waits for it, and what has given way may not run for long.
                let _ = ready.send(gettid());
                give_way(NICE);
                own.run();
            })
            .ok()?;
        Some(Self {
            shared,
            thread: handle.thread().clone(),
            id: begun.recv().ok()?,
        })
    }

    /// From now on it stays on `processor`.
    pub fn move_to(&self, processor: usize) {
        self.shared.processor.store(processor + 1, Relaxed);
        if let Some(there) = only(Some(processor)) {
            // A processor that is gone: it stays where it is, which costs speed only.
            let _ = sched_setaffinity(Some(self.id), &there);
        }
    }

    /// A request came at `now`.
    pub fn stay(&self, now: u64) {
        self.shared.until.store(now + STAY_NS, SeqCst);
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self) {
        let mut helpers = Helpers::default();
        while !self.ended.load(SeqCst) {
            self.asleep.store(true, SeqCst);
            while self.is_over() && !self.ended.load(SeqCst) {
                if !helpers.are_kept() {
                    std::thread::park();
                    continue;
                }
                std::thread::park_timeout(KEPT);
                if self.is_over() {
                    helpers.keep_on(None);
                }
            }
            self.asleep.store(false, SeqCst);
            self.keep_awake(&mut helpers);
        }
    }

    /// No request came for a while.
    fn is_over(&self) -> bool {
        now_ns() >= self.until.load(SeqCst)
    }

    /// Until no request came for a while.
    fn keep_awake(&self, helpers: &mut Helpers) {
        while !self.is_over() {
            helpers.keep_on(self.processor.load(Relaxed).checked_sub(1));
            for _ in 0..TURNS {
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Nanoseconds on a processor, or None when the thread is gone.
    fn ran(id: Pid) -> Option<u64> {
        let path = format!("/proc/self/task/{}/schedstat", id.as_raw_nonzero());
        let text = std::fs::read_to_string(path).ok()?;
        text.split(' ').next()?.parse().ok()
    }

    fn within_seconds(holds: impl Fn() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        holds()
    }

    #[test]
    fn runs_while_requests_come_sleeps_when_they_end_and_ends_with_its_owner() {
        let awake = Awake::start().unwrap();
        let id = awake.id;
        assert!(within_seconds(|| awake.shared.asleep.load(SeqCst)));
        let before = ran(id).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(ran(id), Some(before));

        assert!(within_seconds(|| {
            awake.stay(now_ns());
            ran(id).unwrap() > before + 2 * STAY_NS
        }));
        std::thread::sleep(Duration::from_nanos(STAY_NS));
        assert!(within_seconds(|| awake.shared.asleep.load(SeqCst)));

        drop(awake);
        assert!(within_seconds(|| ran(id).is_none()));
    }
}
