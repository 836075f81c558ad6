//! Glue between Node.js and Rust: one file a room of src/native.ts.
// Exports to JavaScript are compiled out of test builds, and then nothing uses them.
#![cfg_attr(test, allow(dead_code))]

mod codec;
mod fuse;
mod handover;
mod log;
mod pool;
mod record;
mod seal;
mod service;
mod sums;
mod window;
