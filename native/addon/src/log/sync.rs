//! Syncing segments on a thread of its own.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::fdatasync;

use super::files::failed;
use super::{lock, not_mapped};

type Sync = Box<dyn FnOnce() + Send>;

/// The thread that syncs segments. It is not one of the pool: callers wait for it, and must not
/// stand behind work that takes long or runs at a lower priority.
fn sync_thread() -> Result<Sender<Sync>> {
    static THREAD: Mutex<Option<Sender<Sync>>> = Mutex::new(None);
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(queue) = &*thread {
        return Ok(queue.clone());
    }
    let (queue, syncs) = channel::<Sync>();
    std::thread::Builder::new()
        .name("tuskfs-sync".into())
        .spawn(move || syncs.into_iter().for_each(|sync| sync()))
        .map_err(|error| Error::from_reason(format!("a thread could not be started: {error}")))?;
    *thread = Some(queue.clone());
    Ok(queue)
}

/// fdatasync on a thread of its own.
#[napi]
pub fn segment_sync<'env>(env: &'env Env, handle: u32) -> Result<Object<'env>> {
    let file = lock().get(&handle).map(|segment| segment.file.clone());
    let (deferred, promise) = env.create_deferred()?;
    let sync: Sync = Box::new(move || {
        let done = file.ok_or_else(not_mapped).and_then(|file| {
            fdatasync(&*file).map_err(|errno| failed("fdatasync", "a segment", errno))
        });
        match done {
            Ok(()) => deferred.resolve(|_| Ok(())),
            Err(error) => deferred.reject(error),
        }
    });
    sync_thread()?
        .send(sync)
        .map_err(|_| Error::from_reason("the thread that syncs segments is gone"))?;
    Ok(promise)
}
