//! The files of one task of the pool: what it reads as memory, what it writes.
//!
//! Whoever starts the task keeps the files as they are until it ends: a file that is cut short
//! while it is mapped would end the process. Packs and their encodings are written by this process
//! only, each under a name of its own.

use std::ffi::c_void;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::ptr;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped file, read-only; unmapped when dropped.
struct Map {
    at: *mut c_void,
    bytes: usize,
}

impl Map {
    fn new(file: &File, bytes: usize) -> io::Result<Self> {
        // An empty file cannot be mapped, and needs not be.
        let at = match bytes {
            0 => ptr::dangling_mut::<u8>().cast(),
            // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
            _ => unsafe {
                mmap(
                    ptr::null_mut(),
                    bytes,
                    ProtFlags::READ,
                    MapFlags::SHARED,
                    file,
                    0,
                )?
            },
        };
        Ok(Self { at, bytes })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: this is the whole of our own mapping, and no slice of it outlives us.
            // The kernel refuses only what was never mapped.
            let _ = unsafe { munmap(self.at, self.bytes) };
        }
    }
}

/// The bytes of a file, read-only.
pub struct Input {
    map: Map,
    file: File,
}

impl Input {
    /// Maps the file at `path`.
    pub fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let map = Map::new(&file, bytes)?;
        Ok(Self { map, file })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `bytes` long and lives as long as `self`; nobody writes
        // to the file meanwhile (see the head of this file).
        unsafe { std::slice::from_raw_parts(self.map.at.cast(), self.map.bytes) }
    }
}

/// A file of fixed length that many threads write parts of. Not through memory: the kernel takes a
/// written run of pages in a third of the time that it takes to hand them out one by one.
pub struct Output {
    file: File,
    path: String,
}

impl Output {
    /// Creates or truncates the file at `path`, which must not be `input`, and reserves its blocks
    /// where the file system can, so that a full disk is an error here (and leaves no file).
    pub fn create(path: &str, bytes: usize, input: &Input) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
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

    /// Writes `bytes` at an offset.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset as u64)
    }

    /// Removes the file: what could not be written whole is of no use.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    fn reserve(&self, bytes: usize) -> io::Result<()> {
        self.file.set_len(0)?;
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes as u64) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            reserved => Ok(reserved?),
        }
    }
}
