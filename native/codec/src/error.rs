//! The codec's one error: a sentence about what was wrong with the input.

use std::fmt;

/// Why an input was refused; input comes from strangers, so every function of this crate returns
/// this instead of panicking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

/// Result of the codec's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Fails with a message unless `holds`.
pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error(message())) }
}
