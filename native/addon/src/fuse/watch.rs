//! Readiness of a descriptor as an event of Node.js' own loop (libuv's uv_poll, whose symbols
//! the node binary exports), so that requests need no thread and no message to reach JavaScript.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::rc::Rc;

use napi::bindgen_prelude::*;
use napi::sys;

use super::pace::Pace;

/// `UV_POLL` of enum uv_handle_type, `UV_READABLE` of enum uv_poll_event.
const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

type PollCallback = unsafe extern "C" fn(*mut c_void, c_int, c_int);
type CloseCallback = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_poll_init(uv_loop: *mut c_void, handle: *mut c_void, fd: c_int) -> c_int;
    fn uv_poll_start(handle: *mut c_void, events: c_int, callback: PollCallback) -> c_int;
    fn uv_is_closing(handle: *const c_void) -> c_int;
    fn uv_close(handle: *mut c_void, callback: CloseCallback);
    fn uv_handle_get_data(handle: *const c_void) -> *mut c_void;
    fn uv_handle_set_data(handle: *mut c_void, data: *mut c_void);
}

/// What the loop's callback needs; owned by the uv handle, freed in its close callback.
struct Listener {
    env: sys::napi_env,
    context: sys::napi_async_context,
    callback: sys::napi_ref,
    pace: Rc<Pace>,
}

/// A running watch; dropping it stops it.
pub struct Watch {
    handle: *mut c_void,
}

fn layout() -> Layout {
    let bytes = unsafe { uv_handle_size(UV_POLL) };
    Layout::from_size_align(bytes, 16).expect("the size of a uv handle is small")
}

impl Watch {
    /// Calls `callback` from the event loop whenever `fd` can be read, or has failed.
    pub fn start(env: &Env, fd: RawFd, callback: Function<(), ()>, pace: Rc<Pace>) -> Result<Self> {
        let raw = env.raw();
        let handle = unsafe { alloc_zeroed(layout()).cast::<c_void>() };
        let made = unsafe { uv_poll_init(env.get_uv_event_loop()?.cast(), handle, fd) };
        if made != 0 {
            unsafe { dealloc(handle.cast(), layout()) };
            return Err(Error::from_reason(format!("uv_poll_init failed: {made}")));
        }
        let mut name = null_mut();
        let mut context = null_mut();
        let mut reference = null_mut();
        unsafe {
            check_status!(sys::napi_create_string_utf8(
                raw,
                c"tuskfs-fuse".as_ptr(),
                11,
                &mut name
            ))?;
            check_status!(sys::napi_async_init(raw, null_mut(), name, &mut context))?;
            check_status!(sys::napi_create_reference(
                raw,
                callback.raw(),
                1,
                &mut reference
            ))?;
            let listener = Box::new(Listener {
                env: raw,
                context,
                callback: reference,
                pace,
            });
            uv_handle_set_data(handle, Box::into_raw(listener).cast());
        }
        let watch = Self { handle };
        let started = unsafe { uv_poll_start(handle, UV_READABLE, on_ready) };
        if started != 0 {
            return Err(Error::from_reason(format!(
                "uv_poll_start failed: {started}"
            )));
        }
        Ok(watch)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        unsafe { uv_close(self.handle, on_closed) };
    }
}

unsafe extern "C" fn on_ready(handle: *mut c_void, status: c_int, _events: c_int) {
    unsafe { call_listener(handle) };
    // libuv gives a descriptor in error up after one call. That call may have had no time left to
    // read to the error's end (a turn is short): ask again until the watch is dropped.
    if status < 0 && unsafe { uv_is_closing(handle) } == 0 {
        unsafe { uv_poll_start(handle, UV_READABLE, on_ready) };
    }
}

unsafe fn call_listener(handle: *mut c_void) {
    let listener = unsafe { &*uv_handle_get_data(handle).cast::<Listener>() };
    let env = listener.env;
    listener.pace.turn_begins();
    unsafe {
        let mut scope = null_mut();
        sys::napi_open_handle_scope(env, &mut scope);
        let mut function = null_mut();
        let mut this = null_mut();
        let mut result = null_mut();
        sys::napi_get_reference_value(env, listener.callback, &mut function);
        sys::napi_get_global(env, &mut this);
        let status = sys::napi_make_callback(
            env,
            listener.context,
            this,
            function,
            0,
            null_mut(),
            &mut result,
        );
        if status == sys::Status::napi_pending_exception {
            let mut exception = null_mut();
            sys::napi_get_and_clear_last_exception(env, &mut exception);
            sys::napi_fatal_exception(env, exception);
        }
        sys::napi_close_handle_scope(env, scope);
    }
}

unsafe extern "C" fn on_closed(handle: *mut c_void) {
    unsafe {
        let listener = Box::from_raw(uv_handle_get_data(handle).cast::<Listener>());
        sys::napi_delete_reference(listener.env, listener.callback);
        sys::napi_async_destroy(listener.env, listener.context);
        dealloc(handle.cast(), layout());
    }
}
