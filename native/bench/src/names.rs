//! Rows about names and small files. `create-write` leaves the files that `stat` to `open-read`
//! look at, `rename` renames them and `unlink` removes them, so the rows run in this order.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, fsync, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, read, write};

use crate::{Outcome, Work, timed};

const SMALL: usize = 4096;

fn open_directory(directory: &Path, name: &str) -> Outcome<OwnedFd> {
    let path = directory.join(name);
    match mkdirat(CWD, &path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, &path, flags, Mode::empty())?)
}

/// Names made before the clock runs.
fn names(prefix: &str, count: u64) -> Vec<CString> {
    (0..count)
        .map(|i| CString::new(format!("{prefix}{i:06}")).expect("a name holds no NUL"))
        .collect()
}

fn make(at: &OwnedFd, name: &CString) -> Outcome<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Empty files: create, close.
pub fn create(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "empty")?;
    let names = names("e", count);
    timed(count, || {
        for name in &names {
            make(&at, name)?;
        }
        Ok(0)
    })
}

/// Small files: create, write 4 KiB, close.
pub fn create_write(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let names = names("f", count);
    let data = [0x5a; SMALL];
    timed(count, || {
        for name in &names {
            write(make(&at, name)?, &data)?;
        }
        Ok(count * SMALL as u64)
    })
}

/// stat of names that exist, each call timed.
pub fn stat(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let names = names("f", count);
    let mut calls = Vec::with_capacity(names.len());
    let mut work = timed(count, || {
        for name in &names {
            let start = Instant::now();
            statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
            calls.push(start.elapsed());
        }
        Ok(0)
    })?;
    calls.sort_unstable();
    work.p99 = calls[calls.len() * 99 / 100];
    Ok(work)
}

/// stat of names that do not exist, each asked for once.
pub fn missing(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let names = names("missing", count);
    timed(count, || {
        for name in &names {
            match statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Err(std::io::Error::other("a missing name was found")),
            }
        }
        Ok(0)
    })
}

/// Entries of a directory, listed once.
pub fn readdir(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    timed(count, || {
        let mut entries = 0;
        for entry in Dir::read_from(&at)? {
            if entry?.file_name().to_bytes()[0] != b'.' {
                entries += 1;
            }
        }
        if entries == count {
            return Ok(0);
        }
        Err(std::io::Error::other(format!("{entries} entries listed")))
    })
}

/// Small files: open, read 4 KiB, close.
pub fn open_read(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let names = names("f", count);
    let mut data = [0; SMALL];
    timed(count, || {
        for name in &names {
            let file = openat(&at, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            if read(file, &mut data)? != SMALL || data[SMALL - 1] != 0x5a {
                return Err(std::io::Error::other("a file reads wrong"));
            }
        }
        Ok(count * SMALL as u64)
    })
}

/// Renames within a directory.
pub fn rename(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let (old, new) = (names("f", count), names("g", count));
    timed(count, || {
        for (old, new) in old.iter().zip(&new) {
            renameat(&at, old, &at, new)?;
        }
        Ok(0)
    })
}

/// Removes the files that were renamed.
pub fn unlink(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "small")?;
    let names = names("g", count);
    timed(count, || {
        for name in &names {
            unlinkat(&at, name, AtFlags::empty())?;
        }
        Ok(0)
    })
}

/// An editor's save: create, write 4 KiB, fsync, rename over the file.
pub fn save(directory: &Path, count: u64) -> Outcome<Work> {
    let at = open_directory(directory, "saved")?;
    let data = [0x5a; SMALL];
    let (draft, name) = (c"draft".to_owned(), c"document");
    timed(count, || {
        for _ in 0..count {
            let file = make(&at, &draft)?;
            write(&file, &data)?;
            fsync(&file)?;
            drop(file);
            renameat(&at, &draft, &at, name)?;
        }
        Ok(count * SMALL as u64)
    })
}
