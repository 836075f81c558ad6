//! A segment's bytes front to back, without all of them in memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use tuskfs_codec::pieces::read_exact;

/// Bytes of a segment that are read at a time; more if a record is larger.
pub const WINDOW: usize = 1 << 20;

/// The bytes of a segment, read front to back.
pub trait Bytes {
    /// How many there are.
    fn len(&self) -> usize;
    /// Those from `from` to `to`, which is no more than there are.
    fn get(&mut self, from: usize, to: usize) -> io::Result<&[u8]>;
}

impl Bytes for &[u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn get(&mut self, from: usize, to: usize) -> io::Result<&[u8]> {
        Ok(&self[from..to])
    }
}

/// A segment's file, a part of which is in memory.
pub struct Window {
    file: Arc<File>,
    bytes: usize,
    at: usize,
    held: Vec<u8>,
}

impl Window {
    /// Over the first `bytes` of a file.
    pub fn new(file: Arc<File>, bytes: usize) -> Self {
        let (at, held) = (0, Vec::new());
        Self {
            file,
            bytes,
            at,
            held,
        }
    }
}

impl Bytes for Window {
    fn len(&self) -> usize {
        self.bytes
    }

    fn get(&mut self, from: usize, to: usize) -> io::Result<&[u8]> {
        if from < self.at || to > self.at + self.held.len() {
            let wanted = WINDOW.min(self.bytes - from).max(to - from);
            self.at = from;
            self.held.resize(wanted, 0);
            read_exact(&self.file, &mut self.held, from as u64)?;
        }
        Ok(&self.held[from - self.at..to - self.at])
    }
}
