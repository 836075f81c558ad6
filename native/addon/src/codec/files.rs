//! The files of one task of the pool. They are read and written by system calls: pages of a mapping
//! would count as this process's memory, and a file cut short would end it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tuskfs_codec::encode::{Sink, Source};
use tuskfs_codec::pieces::{read_exact, write_all};

/// A file that is read by many threads at once, which stays as long as it is.
pub struct Input {
    file: File,
    bytes: u64,
}

impl Input {
    /// Opens the file at `path`.
    pub fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl Source for Input {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        read_exact(&self.file, to, offset as u64)
    }
}

/// A file of fixed length that many threads write parts of and read them back. The kernel takes a
/// written run of pages in a third of the time that it takes to hand out those of a mapping one by one.
pub struct Output {
    file: File,
    path: String,
}

impl Output {
    /// Creates the file at `path`, or takes over the one that is there, which must not be `input`, and
    /// reserves its blocks where the file system can, so that a full disk is an error here (and
    /// leaves no file). Every byte is to be written: old ones stay until then.
    pub fn create(path: &str, bytes: usize, input: &Input) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let (at, other) = (file.metadata()?, input.file.metadata()?);
        if (at.dev(), at.ino()) == (other.dev(), other.ino()) {
            return Err(io::Error::other("a file cannot be encoded into itself"));
        }
        let path = path.into();
        let output = Self { file, path };
        output.reserve(bytes).inspect_err(|_| output.remove())?;
        Ok(output)
    }

    /// Removes the file: what could not be written whole is of no use.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn reserve(&self, bytes: usize) -> io::Result<()> {
        self.file.set_len(bytes as u64)?;
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes as u64) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            reserved => Ok(reserved?),
        }
    }
}

impl Sink for Output {
    fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.file, bytes, offset as u64)
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> io::Result<()> {
        read_exact(&self.file, to, offset as u64)
    }
}
