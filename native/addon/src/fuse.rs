//! The `fuse` section of src/native.ts: mounting, and the descriptor of /dev/fuse as seen by the
//! event loop. The protocol itself is spoken in TypeScript; nothing here looks into a request.

mod device;
mod memory;
mod mount;
mod pace;
mod watch;

use napi::bindgen_prelude::*;

/// Runs `work` on a thread of its own, for calls that may block for as long as the kernel likes,
/// and returns the promise of its result.
fn on_own_thread<'env, T, F>(env: &'env Env, work: F) -> Result<Object<'env>>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (deferred, promise) = env.create_deferred()?;
    std::thread::Builder::new()
        .name("tuskfs-mount".into())
        .spawn(move || {
            let value = work();
            deferred.resolve(move |_| Ok(value));
        })
        .map_err(|error| Error::from_reason(format!("a thread could not be started: {error}")))?;
    Ok(promise)
}
