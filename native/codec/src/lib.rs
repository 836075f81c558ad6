//! What the drive computes: Walrus' RedStuff code, BLS12-381 certificates, content-defined
//! cutting and sealing. Pure functions over bytes; no network, no clock.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cut;
pub mod pieces;
pub mod seal;
