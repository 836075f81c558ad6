//! The clock that the kernel stamps files with.

use napi_derive::napi;
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_REALTIME_COARSE since a second of it; exact for 104 days around that one.
#[napi]
pub fn coarse_nanoseconds(since_second: f64) -> f64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec as f64 - since_second) * 1e9 + now.tv_nsec as f64
}
