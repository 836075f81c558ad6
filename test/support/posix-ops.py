"""
Makes system calls below a directory and says what came of each: `posix-ops.py DIRECTORY`. A line of
input is a JSON array of operations, the line of output the array of their results: a value, or the
name of the error. Two of these, on two file systems, must answer alike.
"""
import ctypes, errno, hashlib, json, mmap, os, stat, sys

root = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
FLAGS = {name: getattr(os, name) for name in dir(os) if name.startswith("O_")}
held = []
os.umask(0o022)


def at(path):
    return os.path.join(root, path.encode("latin1"))


def call(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def i64(value):
    return ctypes.c_longlong(value)


def flags_of(names):
    flags = os.O_NONBLOCK  # a fifo without another end is not waited for
    for name in names.split("|"):
        flags |= FLAGS["O_" + name]
    return flags


class Opened:
    """A file opened for one operation."""

    def __init__(self, path, flags):
        self.fd = os.open(at(path), flags | os.O_NONBLOCK)

    def __enter__(self):
        return self.fd

    def __exit__(self, *_):
        os.close(self.fd)


def write(o):
    with Opened(o["path"], flags_of(o["flags"])) as fd:
        data = bytes([o["byte"]]) * o["length"]
        return os.write(fd, data) if "APPEND" in o["flags"] else os.pwrite(fd, data, o["offset"])


def read(o):
    with Opened(o["path"], os.O_RDONLY) as fd:
        return hashlib.sha1(os.pread(fd, o["length"], o["offset"])).hexdigest()


def make(o):
    os.close(os.open(at(o["path"]), flags_of(o["flags"]), o["mode"]))


def fallocate(o):
    with Opened(o["path"], os.O_RDWR) as fd:
        return call(libc.fallocate(fd, o["how"], i64(o["offset"]), i64(o["length"])))


def copy(o):
    with Opened(o["path"], os.O_RDONLY) as a, Opened(o["to"], os.O_WRONLY) as b:
        return os.copy_file_range(a, b, o["length"], o["offset"], o["toOffset"])


def map_write(o):
    with Opened(o["path"], os.O_RDWR) as fd:
        size = os.fstat(fd).st_size
        if o["offset"] >= size:
            return 0
        with mmap.mmap(fd, size) as m:
            end = min(size, o["offset"] + o["length"])
            m[o["offset"] : end] = bytes([o["byte"]]) * (end - o["offset"])
            m.flush()
        return end


def rename(o):
    a, b = at(o["path"]), at(o["to"])
    return call(libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, ctypes.c_uint(o["how"])))


def tmpfile(o):
    fd = os.open(at(o["path"]), flags_of(o["flags"]) | os.O_TMPFILE | os.O_RDWR, o["mode"])
    try:
        os.write(fd, bytes([o["byte"]]) * o["length"])
        os.link("/proc/self/fd/%d" % fd, at(o["to"]), src_dir_fd=fd)
    finally:
        os.close(fd)


def seek(o):
    """The size if every byte outside of what SEEK_DATA finds is zero."""
    with Opened(o["path"], os.O_RDONLY) as fd:
        size, end = os.fstat(fd).st_size, 0
        content = os.pread(fd, size, 0)
        while end < size:
            try:
                data = os.lseek(fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                data = size
            if content[end:data].strip(b"\0"):
                return "data in a hole"
            if data >= size:
                break
            end = os.lseek(fd, data, os.SEEK_HOLE)
        return size


def utime(o):
    os.utime(at(o["path"]), ns=(o["atime"], o["mtime"]), follow_symlinks=False)
    found = os.lstat(at(o["path"]))
    return [found.st_atime_ns, found.st_mtime_ns]


def hold(o):
    held.append(os.open(at(o["path"]), os.O_RDWR | os.O_NONBLOCK))


def use(o):
    if not held:
        return None
    fd = held[o["which"] % len(held)]
    wrote = os.pwrite(fd, bytes([o["byte"]]) * o["length"], o["offset"])
    found = os.fstat(fd)
    content = hashlib.sha1(os.pread(fd, 1 << 20, 0)).hexdigest()
    return [wrote, found.st_size, found.st_nlink, oct(found.st_mode), content]


def release(_):
    while held:
        os.close(held.pop())


def dump(_):
    """The whole tree: attributes, content, attributes of the extended kind, which names are one inode."""
    found, first = [], {}

    def add(path):
        s = os.lstat(path)
        name = path[len(root) :].decode("latin1")
        kind = stat.S_IFMT(s.st_mode)
        what = None
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                what = hashlib.sha1(file.read()).hexdigest()
        elif kind == stat.S_IFLNK:
            what = os.readlink(path).decode("latin1")
        size = 0 if kind == stat.S_IFDIR else s.st_size
        xattrs = {n: os.getxattr(path, n, follow_symlinks=False).hex() for n in sorted(os.listxattr(path, follow_symlinks=False))}
        same = first.setdefault(s.st_ino, name)
        found.append([name, oct(s.st_mode), s.st_nlink, s.st_uid, s.st_gid, size, s.st_rdev, what, xattrs, same])
        if kind == stat.S_IFDIR:
            for entry in sorted(os.listdir(path)):
                add(os.path.join(path, entry))

    add(root)
    return found


OPERATIONS = {
    "make": make,
    "write": write,
    "read": read,
    "mkdir": lambda o: os.mkdir(at(o["path"]), o["mode"]),
    "mkfifo": lambda o: os.mkfifo(at(o["path"]), o["mode"]),
    "rmdir": lambda o: os.rmdir(at(o["path"])),
    "unlink": lambda o: os.unlink(at(o["path"])),
    "symlink": lambda o: os.symlink(o["to"].encode("latin1"), at(o["path"])),
    "readlink": lambda o: os.readlink(at(o["path"])).decode("latin1"),
    "link": lambda o: os.link(at(o["path"]), at(o["to"]), follow_symlinks=False),
    "rename": rename,
    "truncate": lambda o: os.truncate(at(o["path"]), o["offset"]),
    "fallocate": fallocate,
    "copy": copy,
    "map": map_write,
    "tmpfile": tmpfile,
    "seek": seek,
    "chmod": lambda o: os.chmod(at(o["path"]), o["mode"]),
    "chown": lambda o: os.chown(at(o["path"]), o["uid"], o["gid"], follow_symlinks=False),
    "utime": utime,
    "setxattr": lambda o: os.setxattr(at(o["path"]), o["name"], b"v" * o["length"], o["how"], follow_symlinks=False),
    "removexattr": lambda o: os.removexattr(at(o["path"]), o["name"], follow_symlinks=False),
    "access": lambda o: os.access(at(o["path"]), o["how"], effective_ids=True),
    "list": lambda o: sorted(os.listdir(at(o["path"]).decode("latin1"))),
    "hold": hold,
    "use": use,
    "release": release,
    "dump": dump,
}


def run(o):
    try:
        os.setegid(o.get("as", 0))
        os.seteuid(o.get("as", 0))
        return OPERATIONS[o["op"]](o)
    except OSError as error:
        return errno.errorcode[error.errno]
    finally:
        os.seteuid(0)
        os.setegid(0)


os.setgroups([])
for line in sys.stdin:
    print(json.dumps([run(o) for o in json.loads(line)]), flush=True)
