//! The one pool for work that takes more than microseconds: few threads, of lower priority than
//! the thread that answers the kernel.

use std::sync::OnceLock;

use napi::bindgen_prelude::*;

/// The pool: one thread a core, niced so that the event loop wins every contest.
pub fn pool() -> &'static rayon::ThreadPool {
    static POOL: OnceLock<rayon::ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("tuskfs-pool-{i}"))
            .start_handler(|_| lower_priority())
            .build()
            .expect("threads can be started")
    })
}

fn lower_priority() {
    // On Linux the nice value belongs to the thread that sets it.
    let _ = rustix::process::nice(10);
}

/// Runs `work` on the pool and returns the promise of its result.
pub fn promise<'env, T, F>(env: &'env Env, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    pool().spawn(
        move || match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
            Ok(Ok(value)) => deferred.resolve(move |_| Ok(value)),
            Ok(Err(error)) => deferred.reject(error),
            Err(_) => deferred.reject(Error::from_reason("a task of the addon panicked")),
        },
    );
    Ok(promise)
}
