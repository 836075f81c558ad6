//! What the drive computes: Walrus' RedStuff code, BLS12-381 certificates, content-defined
//! cutting and sealing. Pure functions over bytes; no network, no clock.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blocks;
pub mod bls;
mod code;
pub mod cut;
pub mod decode;
pub mod encode;
mod error;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod merkle;
pub mod metadata;
pub mod pieces;
mod reed_solomon;
pub mod seal;
pub mod shape;
pub mod sliver;
mod spare;
mod strip;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use error::{Error, Result};
pub use reed_solomon::Indexed;
