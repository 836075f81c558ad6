/** Numbers that several rooms must agree on. Units stand last in the name. */

const KiB = 1024;
const MiB = 1024 * KiB;

/** Longest file name. */
export const NAME_BYTES_MAX = 255;
/** Largest file: every offset is an exact double. */
export const FILE_BYTES_MAX = Number.MAX_SAFE_INTEGER;
/** Most hard links to one inode (as on ext4). */
export const LINKS_MAX = 65_000;
/** Largest value of an extended attribute (VFS limit of Linux). */
export const XATTR_VALUE_BYTES_MAX = 64 * KiB;
/** Largest list of extended attribute names (VFS limit of Linux). */
export const XATTR_LIST_BYTES_MAX = 64 * KiB;
/** Longest target of a symbolic link. */
export const SYMLINK_BYTES_MAX = 4095;
/** Largest FUSE WRITE or READ. */
export const FUSE_IO_BYTES_MAX = MiB;
/** A page of memory: the kernel reads, and changes, whole ones. */
export const PAGE_BYTES = 4 * KiB;
/** Size of one segment of the local log. */
export const SEGMENT_BYTES = 64 * MiB;
/** Content of at least this size is aligned to 4 KiB in the log. */
export const LOG_ALIGN_FROM_BYTES = 64 * KiB;
/** Smallest frame that content-defined cutting makes, but for the end of a file (FORMAT.md). */
export const FRAME_BYTES_MIN = 256 * KiB;
/** A flush starts when this much is staged and nothing more comes. */
export const PACK_TARGET_BYTES = 64 * MiB;
/** Largest pack, when that much is staged: then a flush starts in any case. */
export const PACK_BYTES_MAX = 256 * MiB;
/** Smallest size that packs are cut down to where the disk is nearly full (a sealed pack, all its slivers and index groups must find room beside the log). */
export const PACK_BYTES_MIN = 16 * MiB;
/** Free space of the disk that a flush of one smallest pack takes, beside copies of the index: the log does not grow into it. */
export const FLUSH_ROOM_BYTES = 192 * MiB;
/** Part of the index file that is stored and reused as one frame. */
export const INDEX_GROUP_BYTES = 64 * KiB;
/** Largest symbol that Walrus' Reed–Solomon code takes. */
export const SYMBOL_BYTES_MAX = 65_534;
/** Storage is paid for at most this many epochs ahead. */
export const EPOCHS_AHEAD_MAX = 53;
/** The unit in which Walrus prices storage. */
export const STORAGE_UNIT_BYTES = MiB;
