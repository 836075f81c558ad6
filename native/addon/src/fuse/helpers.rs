//! Threads of this process that work beside the front: V8's, which mark and compile, and the index
//! writer. V8's have the front's priority by themselves, and who gives way is still owed a tenth of
//! a processor, which the scheduler pays in pieces of milliseconds: the front, woken up on their
//! processor, would stand in line as long.

use rustix::thread::{Pid, sched_setaffinity};

use super::beside::only;
use crate::pool::{INDEX_WRITER, gives_way};

/// What Node.js calls the threads of V8's platform.
const V8: &str = "V8Worker";

/// Threads of this process that have one of `names`.
fn named(names: &[&str]) -> Vec<Pid> {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Vec::new();
    };
    let is_one = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let id = task.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(id).filter(|_| names.contains(&name.trim_end()))
    };
    tasks.flatten().filter_map(is_one).collect()
}

/// V8's threads give way to whoever wakes up, as those of the pool do.
pub fn give_way() {
    for thread in named(&[V8]) {
        gives_way(thread);
    }
}

/// All of them, kept on one of two processors or free to use both; free again when this is dropped.
#[derive(Default)]
pub struct Helpers {
    on: Option<usize>,
}

impl Helpers {
    /// From now on they use `processor` alone; None: both.
    pub fn keep_on(&mut self, processor: Option<usize>) {
        if self.on == processor {
            return;
        }
        self.on = processor;
        let Some(allowed) = only(processor) else {
            return;
        };
        for thread in named(&[V8, INDEX_WRITER]) {
            // A processor that is gone: they stay where they are, which costs speed only.
            let _ = sched_setaffinity(Some(thread), &allowed);
        }
    }

    pub fn are_kept(&self) -> bool {
        self.on.is_some()
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.keep_on(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use rustix::process::getpriority_process;
    use rustix::thread::{gettid, sched_getaffinity};

    use super::*;
    use crate::fuse::beside::both_processors;

    #[test]
    fn who_has_such_a_name_gives_way_and_is_kept_on_one_processor_until_it_is_let_go() {
        let (told, id) = channel();
        let (end, ended) = channel::<()>();
        let helper = std::thread::Builder::new()
            .name(V8.into())
            .spawn(move || {
                told.send(gettid()).unwrap();
                let _ = ended.recv();
            })
            .unwrap();
        let id = id.recv().unwrap();
        let own = getpriority_process(None).unwrap();
        give_way();
        assert_eq!(getpriority_process(Some(id)).unwrap(), own.max(10));
        assert_eq!(getpriority_process(None).unwrap(), own);

        let allowed = || sched_getaffinity(Some(id)).unwrap();
        let before = allowed();
        let mut helpers = Helpers::default();
        if let Some(processors) = both_processors() {
            for processor in processors {
                helpers.keep_on(Some(processor));
                assert_eq!(Some(allowed()), only(Some(processor)));
            }
        }
        drop(helpers);
        assert_eq!(allowed(), before);
        drop(end);
        helper.join().unwrap();
    }
}
