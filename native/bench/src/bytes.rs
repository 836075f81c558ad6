//! Rows about the bytes of one large file, `large`, which `sequential-write` makes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, fadvise, fdatasync};

use crate::{Outcome, Work, timed};

const MEBI: usize = 1 << 20;
const PAGE: usize = 4096;

/// Numbers without a pattern that read-ahead could see (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn large(directory: &Path) -> std::path::PathBuf {
    directory.join("large")
}

/// `count` MiB in writes of 1 MiB; close, which hands them to a daemon, counts.
pub fn sequential_write(directory: &Path, count: u64) -> Outcome<Work> {
    let mut data = vec![0; MEBI];
    let mut random = Random(count);
    for byte in &mut data {
        *byte = random.below(256) as u8;
    }
    timed(count, || {
        let file = File::create(large(directory))?;
        for i in 0..count {
            file.write_all_at(&data, i * MEBI as u64)?;
        }
        Ok(count * MEBI as u64)
    })
}

/// `count` MiB in reads of 1 MiB.
pub fn sequential_read(directory: &Path, count: u64) -> Outcome<Work> {
    let mut data = vec![0; MEBI];
    timed(count, || {
        let file = File::open(large(directory))?;
        for i in 0..count {
            file.read_exact_at(&mut data, i * MEBI as u64)?;
        }
        Ok(count * MEBI as u64)
    })
}

/// `count` reads of 4 KiB at random places.
pub fn random_read(directory: &Path, count: u64) -> Outcome<Work> {
    let file = File::open(large(directory))?;
    fadvise(&file, 0, None, Advice::Random)?;
    let pages = file.metadata()?.len() / PAGE as u64;
    let mut data = vec![0; PAGE];
    let mut random = Random(1);
    timed(count, || {
        for _ in 0..count {
            file.read_exact_at(&mut data, random.below(pages) * PAGE as u64)?;
        }
        Ok(count * PAGE as u64)
    })
}

/// `count` writes of 4 KiB at random places; what close hands over counts to the time until local.
pub fn random_write(directory: &Path, count: u64) -> Outcome<Work> {
    let file = OpenOptions::new().write(true).open(large(directory))?;
    let pages = file.metadata()?.len() / PAGE as u64;
    let data = vec![0xa5; PAGE];
    let mut random = Random(2);
    timed(count, || {
        for _ in 0..count {
            file.write_all_at(&data, random.below(pages) * PAGE as u64)?;
        }
        Ok(count * PAGE as u64)
    })
}

/// `count` times: append 4 KiB, fdatasync.
pub fn fsync_write(directory: &Path, count: u64) -> Outcome<Work> {
    let data = vec![0x3c; PAGE];
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(directory.join("journal"))?;
    timed(count, || {
        for i in 0..count {
            file.write_all_at(&data, i * PAGE as u64)?;
            fdatasync(&file)?;
        }
        Ok(count * PAGE as u64)
    })
}
