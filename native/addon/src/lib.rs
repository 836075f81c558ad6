//! Glue between Node.js and Rust: one file a room of src/native.ts.

mod codec;
mod fuse;
mod log;
mod pool;
mod seal;
