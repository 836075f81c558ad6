//! Work behind the scenes: the pools for what takes more than microseconds, and what threads do
//! so that they are never in the way of the thread that answers the kernel, nor of programs.

use std::ffi::CString;
use std::sync::OnceLock;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::process::getpriority_process;
use rustix::thread::{Pid, set_name};

/// The pool: one thread a core, all of them in the background.
pub fn pool() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| threads("pool", SLICE_NS))
}

/// The pool for what somebody waits for who reads: encoding a pack would keep them waiting for seconds.
/// Its threads take turns with the other pool's soon after they are woken up.
fn reading() -> &'static rayon::ThreadPool {
    static READING: OnceLock<rayon::ThreadPool> = OnceLock::new();
    READING.get_or_init(|| threads("read", 0))
}

/// Threads of low priority, one a core, with such a time slice.
fn threads(name: &'static str, slice_ns: u64) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .thread_name(move |i| format!("tuskfs-{name}-{i}"))
        .start_handler(move |_| schedule(None, NICE, slice_ns))
        .build()
        .expect("threads can be started")
}

/// `struct sched_attr` of sched_setattr(2), its first version.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// A background thread's share beside one of ordinary priority is a tenth.
const NICE: i32 = 10;
/// The longest time slice that Linux gives. A thread that wakes up with a shorter one (any other)
/// need not wait for the end of it: since Linux 6.12; older ones take the nice value only.
const SLICE_NS: u64 = 100_000_000;

/// What the thread is called that applies the log to the index.
pub const INDEX_WRITER: &str = "tuskfs-index";

/// Makes the calling thread one of the background, and calls it `name` (15 bytes at most).
#[napi(js_name = "enterBackground")]
pub fn enter_background_as(name: String) {
    if let Ok(name) = CString::new(name) {
        // What it is called is for people, and for the front, which keeps some off its processor.
        let _ = set_name(&name);
    }
    enter_background();
}

/// Makes the calling thread one of the background: whoever wakes up takes its processor at once.
pub fn enter_background() {
    give_way(NICE);
}

/// Lowers the calling thread's priority to `nice`, and lets who wakes up take its processor at once.
pub fn give_way(nice: i32) {
    schedule(None, nice, SLICE_NS);
}

/// Makes another thread of this process one of the background.
pub fn gives_way(thread: Pid) {
    schedule(Some(thread), NICE, SLICE_NS);
}

/// Lowers the priority of a thread (None: the calling one) to `nice`; 0 is the system's own time slice.
fn schedule(thread: Option<Pid>, nice: i32, slice_ns: u64) {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_OTHER as u32,
        flags: 0,
        nice: getpriority_process(thread).unwrap_or(0).max(nice),
        priority: 0,
        runtime: slice_ns,
        deadline: 0,
        period: 0,
    };
    let id = thread.map_or(0, |thread| thread.as_raw_nonzero().get());
    // SAFETY: the kernel reads the structure, and no more of it than `size` says. 0: this thread.
    // A refusal changes nothing but speed.
    unsafe { libc::syscall(libc::SYS_sched_setattr, id, &raw const attr, 0) };
}

/// Runs `work` on the pool and returns the promise of its result.
pub fn promise<'env, T, F>(env: &'env Env, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    promise_of(pool(), env, work)
}

/// As `promise`, for what a reader waits for.
pub fn promise_to_reader<'env, T, F>(env: &'env Env, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    promise_of(reading(), env, work)
}

fn promise_of<'env, T, F>(
    threads: &rayon::ThreadPool,
    env: &'env Env,
    work: F,
) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (task, promise) = task(env, work)?;
    threads.spawn(task);
    Ok(promise)
}

/// Runs `work` on a thread of its own, for what may block for long, and returns the promise of its
/// result.
pub fn promise_of_thread<'env, T, F>(env: &'env Env, name: &str, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (task, promise) = task(env, work)?;
    std::thread::Builder::new()
        .name(name.into())
        .spawn(task)
        .map_err(not_started)?;
    Ok(promise)
}

pub fn not_started(error: std::io::Error) -> Error {
    Error::from_reason(format!("a thread could not be started: {error}"))
}

/// What runs `work`, and the promise that it settles then.
fn task<'env, T, F>(
    env: &'env Env,
    work: F,
) -> Result<(impl FnOnce() + Send + 'static + use<T, F>, Object<'env>)>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    let task = move || match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(Ok(value)) => deferred.resolve(move |_| Ok(value)),
        Ok(Err(error)) => deferred.reject(error),
        Err(_) => deferred.reject(Error::from_reason("a task of the addon panicked")),
    };
    Ok((task, promise))
}
