//! The `fuse` section of src/native.ts.
