//! The `codec` section of src/native.ts.
