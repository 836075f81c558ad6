//! Runs one row of the mount benchmark below a directory and prints what it took as one JSON
//! object: operations, bytes, seconds, and the seconds until everything was durable.
//!
//! `tuskfs-bench ROW DIRECTORY COUNT [--mount PATH] [--backing PATH]`
//! COUNT is the number of files or operations, or mebibytes where a row says so. With `--mount`
//! everything that the kernel remembers of that mount is dropped before a row that asks the
//! daemon; `--backing` is a directory on the disk that a daemon of somebody else writes through to.

mod bytes;
mod names;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::fs::{fsync, syncfs};
use rustix::mount::{MountFlags, mount_remount};

pub type Outcome<T> = std::io::Result<T>;

/// What a row did in the time that counts.
#[derive(Default)]
pub struct Work {
    pub operations: u64,
    pub bytes: u64,
    pub took: Duration,
    /// The 99th percentile of a call, where calls are timed one by one.
    pub p99: Duration,
}

/// Times `work`, which returns the bytes that it moved.
pub fn timed(operations: u64, work: impl FnOnce() -> Outcome<u64>) -> Outcome<Work> {
    let start = Instant::now();
    let bytes = work()?;
    Ok(Work {
        operations,
        bytes,
        took: start.elapsed(),
        p99: Duration::ZERO,
    })
}

/// When the kernel must have forgotten the mount before a row's work.
#[derive(Clone, Copy, PartialEq)]
enum Kernel {
    /// What it remembers is part of the row.
    Remembers,
    Forgets,
    /// Before each of several runs: one is too short to be timed.
    ForgetsEach,
}
use Kernel::{Forgets, ForgetsEach, Remembers};

/// Runs of a row that forgets each time.
const RUNS: u32 = 20;

struct Row {
    name: &'static str,
    kernel: Kernel,
    run: fn(&Path, u64) -> Outcome<Work>,
}

const fn row(name: &'static str, kernel: Kernel, run: fn(&Path, u64) -> Outcome<Work>) -> Row {
    Row { name, kernel, run }
}

const ROWS: &[Row] = &[
    row("create", Remembers, names::create),
    row("create-write", Remembers, names::create_write),
    row("stat", Forgets, names::stat),
    row("missing", Forgets, names::missing),
    row("readdir", ForgetsEach, names::readdir),
    row("open-read", Forgets, names::open_read),
    row("rename", Remembers, names::rename),
    row("unlink", Remembers, names::unlink),
    row("sequential-write", Remembers, bytes::sequential_write),
    row("sequential-read", Forgets, bytes::sequential_read),
    row("sequential-read-warm", Remembers, bytes::sequential_read),
    row("random-read", Forgets, bytes::random_read),
    row("random-write", Remembers, bytes::random_write),
    row("fsync-write", Remembers, bytes::fsync_write),
    row("save", Remembers, names::save),
    row("local", Remembers, nothing),
    row("forget", Forgets, nothing),
];

/// For what belongs to a row of another program: making durable, forgetting.
fn nothing(_: &Path, _: u64) -> Outcome<Work> {
    Ok(Work::default())
}

struct Arguments {
    row: &'static Row,
    directory: PathBuf,
    count: u64,
    mount: Option<PathBuf>,
    backing: Option<PathBuf>,
}

fn arguments() -> Option<Arguments> {
    let mut given = std::env::args().skip(1);
    let name = given.next()?;
    let row = ROWS.iter().find(|row| row.name == name)?;
    let directory = given.next()?.into();
    let count = given.next()?.parse().ok()?;
    let (mut mount, mut backing) = (None, None);
    while let Some(option) = given.next() {
        let value = Some(PathBuf::from(given.next()?));
        match option.as_str() {
            "--mount" => mount = value,
            "--backing" => backing = value,
            _ => return None,
        }
    }
    Some(Arguments {
        row,
        directory,
        count,
        mount,
        backing,
    })
}

/// How long a daemon gets to take in what the kernel forgot: nobody waits for its answers.
const FORGETTING: Duration = Duration::from_millis(50);

/// Hands over dirty pages, then drops names, attributes and pages of this one mount.
fn forget(mount: &Path) -> Outcome<()> {
    mount_remount(mount, MountFlags::empty(), c"")?;
    std::thread::sleep(FORGETTING);
    Ok(())
}

/// Everything written so far survives power loss: syncfs hands over what the kernel holds, fsync
/// makes the daemon answer for it (a FUSE mount hears nothing of syncfs).
fn make_local(directory: &Path, backing: Option<&Path>) -> Outcome<Duration> {
    let start = Instant::now();
    let opened = File::open(directory)?;
    syncfs(&opened)?;
    fsync(&opened)?;
    if let Some(backing) = backing {
        syncfs(File::open(backing)?)?;
    }
    Ok(start.elapsed())
}

fn run(arguments: &Arguments) -> Outcome<String> {
    let kernel = arguments.row.kernel;
    let runs = if kernel == ForgetsEach { RUNS } else { 1 };
    let mut work = Work::default();
    for _ in 0..runs {
        if let (true, Some(mount)) = (kernel != Remembers, &arguments.mount) {
            forget(mount)?;
        }
        let run = (arguments.row.run)(&arguments.directory, arguments.count)?;
        work.operations += run.operations;
        work.bytes += run.bytes;
        work.took += run.took;
        work.p99 = work.p99.max(run.p99);
    }
    let local = make_local(&arguments.directory, arguments.backing.as_deref())?;
    Ok(format!(
        "{{\"operations\":{},\"bytes\":{},\"seconds\":{:.9},\"p99Seconds\":{:.9},\"localSeconds\":{:.6}}}",
        work.operations,
        work.bytes,
        work.took.as_secs_f64(),
        work.p99.as_secs_f64(),
        local.as_secs_f64()
    ))
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        let rows: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        eprintln!("usage: tuskfs-bench ROW DIRECTORY COUNT [--mount PATH] [--backing PATH]");
        eprintln!("rows: {}", rows.join(" "));
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!(
                "{} in {}: {error}",
                arguments.row.name,
                arguments.directory.display()
            );
            ExitCode::FAILURE
        }
    }
}
