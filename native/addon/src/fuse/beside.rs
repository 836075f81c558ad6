//! On a machine with two processors: being on the processor of the program that is answered.
//!
//! A program that makes one call after another sleeps while it is answered. If it sleeps on another
//! processor than the front's, each answer wakes that processor up, which in a virtual machine takes
//! longer than anything the front does; on the same one the kernel merely switches. The scheduler
//! moves who is woken up to an idle processor, so the other one is kept awake meanwhile, and the
//! front moves to where the program is. With more processors there is always an idle one: there the
//! front looks for the next request on its own (see `pace`).

use std::cell::{Cell, OnceCell};
use std::io::Read;
use std::sync::OnceLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::awake::Awake;

/// Requests of one program between two looks at where it runs, and at the first.
const LOOK_EVERY: u32 = 64;
const LOOK_FIRST: u32 = 8;
/// The field of /proc/PID/stat behind the name that says the processor, see proc_pid_stat(5).
const PROCESSOR_FIELD: usize = 39 - 3;

/// None unless the machine has two processors and this process may use both fully.
pub fn both_processors() -> Option<[usize; 2]> {
    static BOTH: OnceLock<Option<[usize; 2]>> = OnceLock::new();
    let look = || {
        let allowed = sched_getaffinity(None).ok()?;
        let processors: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| allowed.is_set(*cpu))
            .collect();
        let all = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        let usable = std::thread::available_parallelism().ok()?.get();
        (all == 2 && usable == 2).then(|| processors.try_into().ok())?
    };
    *BOTH.get_or_init(look)
}

/// The set of one of the two processors, or of both; None unless there are two.
pub fn only(processor: Option<usize>) -> Option<CpuSet> {
    let mut set = CpuSet::new();
    for one in both_processors()? {
        if processor.is_none_or(|only| only == one) {
            set.set(one);
        }
    }
    Some(set)
}

pub struct Beside {
    processors: [usize; 2],
    awake: OnceCell<Option<Awake>>,
    /// Where the front was last.
    own: Cell<Option<usize>>,
    /// Who asked last, and how often again since.
    thread: Cell<u32>,
    came: Cell<u32>,
}

impl Beside {
    /// None unless there are `both_processors`.
    pub fn on_two_processors() -> Option<Self> {
        Some(Self {
            processors: both_processors()?,
            awake: OnceCell::new(),
            own: Cell::new(None),
            thread: Cell::new(0),
            came: Cell::new(0),
        })
    }

    /// True if `thread` (0: unknown) has asked before and nobody else since. With several at once
    /// there is nobody to be beside.
    pub fn is_alone(&self, thread: u32) -> bool {
        if thread != 0 {
            let again = self.thread.replace(thread) == thread;
            let came = if again {
                self.came.get().wrapping_add(1)
            } else {
                0
            };
            self.came.set(came);
        }
        self.came.get() > 0
    }

    /// A request of `thread`, who is alone, came at `now`, right after the last answer.
    pub fn request_came(&self, now: u64, thread: u32) {
        let Some(awake) = self.awake.get_or_init(Awake::start) else {
            return;
        };
        self.follow(thread);
        let own = sched_getcpu();
        if self.own.replace(Some(own)) != Some(own) {
            let [first, second] = self.processors;
            awake.move_to(if own == first { second } else { first });
        }
        awake.stay(now);
    }

    /// Moves to the processor where `thread` sleeps, now and then.
    fn follow(&self, thread: u32) {
        if thread != 0
            && self.came.get() % LOOK_EVERY == LOOK_FIRST
            && let Some(there) = processor_of(thread)
            && there != sched_getcpu()
        {
            move_to(there);
        }
    }
}

/// Moves this thread at once; the kernel may move it on as before.
fn move_to(processor: usize) {
    let mut there = CpuSet::new();
    there.set(processor);
    if let Ok(allowed) = sched_getaffinity(None)
        && allowed.is_set(processor)
        && sched_setaffinity(None, &there).is_ok()
    {
        let _ = sched_setaffinity(None, &allowed);
    }
}

/// Where `thread` runs or ran last, if /proc shows it.
fn processor_of(thread: u32) -> Option<usize> {
    let mut text = [0; 1024];
    let mut file = std::fs::File::open(format!("/proc/{thread}/stat")).ok()?;
    let length = file.read(&mut text).ok()?;
    processor_in(&text[..length])
}

fn processor_in(stat: &[u8]) -> Option<usize> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat.get(name_end + 2..)?.split(|byte| *byte == b' ');
    std::str::from_utf8(fields.nth(PROCESSOR_FIELD)?)
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_processor() {
        let behind: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("17 (a ) b) {}\n", behind.join(" "));
        assert_eq!(processor_in(stat.as_bytes()), Some(39));
        assert_eq!(processor_in(b"17 (cut"), None);
        assert_eq!(processor_in(b"17 (cut) S 1"), None);
    }

    #[test]
    fn this_thread_is_found_where_it_runs() {
        let own = sched_getcpu();
        let mut set = CpuSet::new();
        set.set(own);
        sched_setaffinity(None, &set).unwrap();
        let thread = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        assert_eq!(processor_of(thread), Some(own));
    }
}
