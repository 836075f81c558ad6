//! The `fuse` section of src/native.ts: mounting, and the descriptor of /dev/fuse as seen by the
//! event loop. The protocol itself is spoken in TypeScript; of a request no more is looked at here
//! than who sent it and how large it is, to choose how to wait for the next.

mod awake;
pub mod beside;
mod device;
pub mod helpers;
mod memory;
mod mount;
pub mod pace;
mod time;
mod watch;
mod wire;

use std::os::fd::RawFd;

use napi::bindgen_prelude::*;

/// Runs `work` on a thread that shares no descriptor with the others: it has `keep` alone. The
/// kernel may make such work wait for an answer of this very process, and then the thread outlives
/// the process's death; shared descriptors would stay open with it, locks and connections and all.
fn apart<T: Send + 'static>(
    keep: Option<RawFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    let (ready, begun) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("tuskfs-apart".into())
        .spawn(move || {
            close_others(keep);
            let _ = ready.send(());
            work()
        })?;
    let _ = begun.recv();
    Ok(thread)
}

/// Gives this thread a descriptor table of its own with nothing but `keep` in it, where the kernel
/// can (Linux 5.11).
fn close_others(keep: Option<RawFd>) {
    let close = |first: u32, last: u32| unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_UNSHARE,
        );
    };
    let keep = keep.map(|fd| fd as u32);
    close(keep.map_or(0, |fd| fd + 1), u32::MAX);
    if let Some(below) = keep.and_then(|fd| fd.checked_sub(1)) {
        close(0, below);
    }
}

/// Runs `work` on a thread of its own, for calls that may block for as long as the kernel likes,
/// and returns the promise of its result.
fn on_own_thread<'env, T, F>(env: &'env Env, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    crate::pool::promise_of_thread(env, "tuskfs-mount", move || Ok(work()))
}
