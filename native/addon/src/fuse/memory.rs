//! Page-aligned memory shared with JavaScript as `Buffer`s; lives until its last user is gone.

use std::sync::Arc;

use napi::bindgen_prelude::*;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An anonymous mapping of its own.
pub struct Memory {
    at: *mut u8,
    bytes: usize,
}

// The mapping belongs to this value; which thread unmaps it does not matter.
unsafe impl Send for Memory {}
unsafe impl Sync for Memory {}

impl Memory {
    pub fn new(bytes: usize) -> Result<Arc<Self>> {
        let at = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                // The kernel writes requests here, even while the process is being killed: it could
                // not bring a page in then, and the request would fail.
                MapFlags::PRIVATE | MapFlags::POPULATE,
            )
        }
        .map_err(|error| Error::from_reason(format!("no memory for {bytes} bytes: {error}")))?;
        Ok(Arc::new(Self {
            at: at.cast(),
            bytes,
        }))
    }

    /// Address of byte `from`, which the caller keeps within the mapping.
    pub fn pointer(&self, from: usize) -> *mut u8 {
        debug_assert!(from <= self.bytes);
        unsafe { self.at.add(from) }
    }

    pub fn len(&self) -> usize {
        self.bytes
    }

    /// The bytes from `from` to the end as a Buffer that keeps the mapping alive.
    pub fn buffer<'env>(
        self: &Arc<Self>,
        env: &'env Env,
        from: usize,
    ) -> Result<BufferSlice<'env>> {
        let keep = Arc::clone(self);
        unsafe {
            BufferSlice::from_external(
                env,
                self.pointer(from),
                self.bytes - from,
                keep,
                |_, kept: Arc<Memory>| drop(kept),
            )
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Nothing could be done about a failure, and the mapping is never used again.
        let _ = unsafe { munmap(self.at.cast(), self.bytes) };
    }
}
