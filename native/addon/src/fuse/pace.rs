//! When to look again for a request before going back to the event loop. A round trip through
//! the kernel's scheduler costs more than answering, so after recent activity the front looks on
//! for some microseconds; it never does so while idle, and never keeps other events waiting. Nor
//! does it when it is `beside` the program that asks, which could not go on meanwhile.

use std::cell::Cell;

use rustix::time::{ClockId, clock_gettime};

/// Longest time spent looking for the next request.
const SPIN_NS: u64 = 50_000;
/// Longest time that requests keep the thread from its other events (timers, messages).
const TURN_NS: u64 = 1_000_000;
/// A wake-up this soon after the last request would have been caught by spinning, or nearly so.
const NEAR_NS: u64 = 2 * SPIN_NS;
/// Spins in vain until they are given up.
const CREDIT_MAX: u32 = 8;

/// Monotonic time.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[derive(Default)]
pub struct Pace {
    turn_began: Cell<u64>,
    turn_ended: Cell<u64>,
    served: Cell<bool>,
    credit: Cell<u32>,
    beside: Cell<bool>,
}

impl Pace {
    /// The event loop says that something is to be read.
    pub fn turn_begins(&self) {
        let now = now_ns();
        if now - self.turn_ended.get() < NEAR_NS {
            self.credit.set((self.credit.get() + 1).min(CREDIT_MAX));
        } else if self.beside.get() {
            self.credit.set(self.credit.get().saturating_sub(1));
        }
        self.turn_began.set(now);
        self.served.set(false);
    }

    /// A turn of our own, behind an answer that was given outside of one.
    pub fn looks_again(&self) {
        self.turn_began.set(now_ns());
        self.served.set(true);
    }

    /// True while this turn may take another request.
    pub fn turn_lasts(&self, now: u64) -> bool {
        now - self.turn_began.get() < TURN_NS
    }

    /// Until when to look for a request that is not there yet; `now` or earlier: not at all.
    pub fn look_until(&self, now: u64) -> u64 {
        if self.served.get() && self.is_lively() && !self.beside.get() {
            (now + SPIN_NS).min(self.turn_began.get() + TURN_NS)
        } else {
            now
        }
    }

    /// True while one request comes soon after the other.
    pub fn is_lively(&self) -> bool {
        self.credit.get() > 0
    }

    /// `spun`: it was looked for. `beside`: who sent it waits on the front's own processor, as far
    /// as that can be had.
    pub fn request_came(&self, spun: bool, beside: bool) {
        self.served.set(true);
        self.beside.set(beside);
        if spun {
            self.credit.set(CREDIT_MAX);
        }
    }

    /// Back to the event loop; `spun`: looked in vain.
    pub fn turn_ends(&self, now: u64, spun: bool) {
        if spun {
            self.credit.set(self.credit.get().saturating_sub(1));
        }
        self.turn_ended.set(now);
    }
}
