//! Files as memory, for the length of one task of the pool.
//!
//! Whoever starts the task keeps the files as they are until it ends: a file that is cut short
//! while it is mapped would end the process. Packs and their encodings are written by this process
//! only, each under a name of its own.

use std::ffi::c_void;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::ptr;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A mapped file; unmapped when dropped.
struct Map {
    at: *mut c_void,
    bytes: usize,
}

impl Map {
    fn new(file: &File, bytes: usize, protection: ProtFlags) -> io::Result<Self> {
        // An empty file cannot be mapped, and needs not be.
        let at = match bytes {
            0 => ptr::dangling_mut::<u8>().cast(),
            // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
            _ => unsafe {
                mmap(
                    ptr::null_mut(),
                    bytes,
                    protection,
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
        let map = Map::new(&file, bytes, ProtFlags::READ)?;
        Ok(Self { map, file })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable, `bytes` long and lives as long as `self`; nobody writes
        // to the file meanwhile (see the head of this file).
        unsafe { std::slice::from_raw_parts(self.map.at.cast(), self.map.bytes) }
    }
}

/// A file of fixed length that is written through memory.
pub struct Output(Map);

impl Output {
    /// Creates or truncates the file at `path`, which must not be `input`, and reserves its blocks,
    /// so that a full disk is an error here (and leaves no file) and not a fault at a later write.
    pub fn create(path: &str, bytes: usize, input: &Input) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let (at, other) = (file.metadata()?, input.file.metadata()?);
        if (at.dev(), at.ino()) == (other.dev(), other.ino()) {
            return Err(io::Error::other("a file cannot be encoded into itself"));
        }
        let mapped = reserve(&mut file, bytes)
            .and_then(|()| Map::new(&file, bytes, ProtFlags::READ | ProtFlags::WRITE));
        if mapped.is_err() {
            let _ = fs::remove_file(path);
        }
        Ok(Self(mapped?))
    }

    /// The file's bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable, `bytes` long and lives as long as `self`, which is
        // borrowed exclusively; nobody else uses the file meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.0.at.cast(), self.0.bytes) }
    }
}

/// Makes the file one of `bytes` zeros that have blocks on disk.
fn reserve(file: &mut File, bytes: usize) -> io::Result<()> {
    file.set_len(0)?;
    if bytes == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, bytes as u64) {
        Err(Errno::OPNOTSUPP) => write_zeros(file, bytes),
        reserved => Ok(reserved?),
    }
}

/// For file systems that cannot reserve.
fn write_zeros(file: &mut File, bytes: usize) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(zeros.len());
        file.write_all(&zeros[..part])?;
        left -= part;
    }
    Ok(())
}
