//! The `seal` section of src/native.ts.
