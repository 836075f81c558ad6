//! mount(2) and umount2(2) for root, `fusermount3` for everybody else. Every call runs on a
//! thread of its own: unmounting waits for the kernel's dirty pages, which the front must take.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use napi::bindgen_prelude::*;
use napi_derive::napi;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::process::{getegid, geteuid};

const HELPER: &str = "fusermount3";

#[napi(object)]
pub struct MountRequest {
    pub source: String,
    pub mount_point: String,
    pub read_only: bool,
    pub allow_other: bool,
    /// Those of mount(2); the helper of a plain user is told what it knows of them.
    pub flags: u32,
    pub read_bytes_max: u32,
}

/// What came of mounting or unmounting: `fd` of the device or −1; then `step` (`device`, `mount`,
/// `helper`, `unmount`) names what failed, `errno` and `message` say how.
#[napi(object)]
pub struct MountOutcome {
    pub fd: i32,
    pub step: String,
    pub errno: i32,
    pub message: String,
}

struct Failure {
    step: &'static str,
    errno: i32,
    message: String,
}

impl Failure {
    fn of(step: &'static str, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        let errno = error.raw_os_error().unwrap_or(0);
        Self {
            step,
            errno,
            message: error.to_string(),
        }
    }
}

fn outcome(result: std::result::Result<Option<OwnedFd>, Failure>) -> MountOutcome {
    match result {
        Ok(fd) => MountOutcome {
            fd: fd.map_or(-1, IntoRawFd::into_raw_fd),
            step: String::new(),
            errno: 0,
            message: String::new(),
        },
        Err(Failure {
            step,
            errno,
            message,
        }) => MountOutcome {
            fd: -1,
            step: step.into(),
            errno,
            message,
        },
    }
}

/// Mounts; the descriptor in the outcome is the caller's to pass to a device.
#[napi]
pub fn fuse_mount<'env>(env: &'env Env, request: MountRequest) -> Result<Object<'env>> {
    super::on_own_thread(env, move || {
        let mounted = if geteuid().is_root() {
            mount_as_root(&request)
        } else {
            mount_by_helper(&request)
        };
        outcome(mounted.map(Some))
    })
}

/// Unmounts; `lazy` detaches at once, while files are still open.
#[napi]
pub fn fuse_unmount<'env>(env: &'env Env, mount_point: String, lazy: bool) -> Result<Object<'env>> {
    super::on_own_thread(env, move || {
        let result = if geteuid().is_root() {
            // The kernel first has dirty pages written.
            super::apart(None, move || unmount_as_root(&mount_point, lazy))
                .map_err(|error| Failure::of("unmount", error))
                .and_then(|thread| thread.join().unwrap_or(Ok(())))
        } else {
            unmount_by_helper(&mount_point, lazy)
        };
        outcome(result.map(|()| None))
    })
}

fn mount_as_root(request: &MountRequest) -> std::result::Result<OwnedFd, Failure> {
    let device = open(
        "/dev/fuse",
        OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )
    .map_err(|error| Failure::of("device", error))?;
    let mut options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,max_read={}",
        device.as_raw_fd(),
        geteuid().as_raw(),
        getegid().as_raw(),
        request.read_bytes_max
    );
    if request.allow_other {
        options.push_str(",allow_other");
    }
    let mut flags = MountFlags::from_bits_retain(request.flags);
    flags.set(MountFlags::RDONLY, request.read_only);
    let options = std::ffi::CString::new(options).expect("options hold no NUL");
    mount(
        &request.source,
        &request.mount_point,
        "fuse.tuskfs",
        flags,
        options.as_c_str(),
    )
    .map_err(|error| Failure::of("mount", error))?;
    Ok(device)
}

fn unmount_as_root(mount_point: &str, lazy: bool) -> std::result::Result<(), Failure> {
    let how = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    unmount(mount_point, how | UnmountFlags::NOFOLLOW)
        .map_err(|error| Failure::of("unmount", error))
}

/// The helper hands the device over through a socket named in _FUSE_COMMFD.
fn mount_by_helper(request: &MountRequest) -> std::result::Result<OwnedFd, Failure> {
    let failed = |error: Errno| Failure::of("helper", error);
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(failed)?;
    let mut options = format!(
        "fsname={},subtype=tuskfs,default_permissions,nosuid,nodev,max_read={}",
        request.source.replace('\\', "\\\\").replace(',', "\\,"),
        request.read_bytes_max
    );
    if request.allow_other {
        options.push_str(",allow_other");
    }
    if request.read_only {
        options.push_str(",ro");
    }
    let flags = MountFlags::from_bits_retain(request.flags);
    for (flag, word) in [
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::SYNCHRONOUS, ",sync"),
    ] {
        if flags.contains(flag) {
            options.push_str(word);
        }
    }
    let mut command = Command::new(HELPER);
    command.args(["-o", &options, "--", &request.mount_point]);
    command.env("_FUSE_COMMFD", theirs.as_raw_fd().to_string());
    let inherited = theirs.as_raw_fd();
    unsafe {
        // Between fork and exec only the flags of one descriptor are touched.
        command.pre_exec(move || {
            let fd = std::os::fd::BorrowedFd::borrow_raw(inherited);
            Ok(fcntl_setfd(fd, FdFlags::empty())?)
        });
    }
    let child = start(&mut command)?;
    drop(theirs);
    let received = receive_fd(ours.as_fd());
    finish(child)?;
    received.map_err(failed)
}

fn unmount_by_helper(mount_point: &str, lazy: bool) -> std::result::Result<(), Failure> {
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    command.args(["--", mount_point]);
    finish(start(&mut command)?)
}

fn start(command: &mut Command) -> std::result::Result<Child, Failure> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::of("helper", error))
}

/// Waits for the helper; what it wrote to its error output becomes the message.
fn finish(mut child: Child) -> std::result::Result<(), Failure> {
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_end(&mut said);
    }
    let status = child.wait().map_err(|error| Failure::of("helper", error))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let message = match said.trim() {
        "" => format!("{HELPER}: {status}"),
        text => text.to_owned(),
    };
    Err(Failure {
        step: "helper",
        errno: 0,
        message,
    })
}

fn receive_fd(socket: std::os::fd::BorrowedFd) -> std::result::Result<OwnedFd, Errno> {
    let mut byte = [0u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message
            && let Some(fd) = fds.next()
        {
            return Ok(fd);
        }
    }
    Err(Errno::PROTO)
}
