//! The `log` section of src/native.ts.

use napi::bindgen_prelude::*;
use napi_derive::napi;

#[napi]
pub fn segment_prepare<'env>(env: &'env Env, path: String, bytes: f64) -> Result<Object<'env>> {
    crate::pool::promise(env, move || {
        let _ = (path, bytes);
        Ok(1u32)
    })
}
