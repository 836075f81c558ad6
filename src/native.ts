/**
 * Typed face of the Rust addon (native/addon). Asynchronous functions run on a small pool of
 * low-priority threads and never on the event loop; synchronous ones take microseconds.
 * Failures throw `Error` with a plain message; rooms turn them into `TuskError`.
 */
import { createRequire } from 'node:module';
import { ADDON_PATH } from './base/addon.ts';

// ------------------------------------------------------------------------------------ codec

/** What an encoding yields beside the slivers (Walrus RS2). */
export interface EncodedBlob {
  /** 32 bytes: blake2b-256 of BCS{encoding type, size, root hash}. */
  blobId: Buffer;
  /** 32 bytes. */
  rootHash: Buffer;
  /** Bytes before encoding. */
  size: number;
  nShards: number;
  /** Bytes a symbol, even. */
  symbolBytes: number;
  /** BCS of BlobMetadata, as PUT to storage nodes (without the blob ID). */
  metadata: Buffer;
}

/** Numbers that follow from a blob's size and the number of shards. */
export interface BlobShape {
  /** Source symbols of a column: n − 2f; also the number of primary slivers that decode. */
  nPrimary: number;
  /** Source symbols of a row: n − f; also the number of secondary slivers that decode. */
  nSecondary: number;
  symbolBytes: number;
  /** nSecondary × symbolBytes: consecutive bytes of the blob that systematic primary sliver i holds. */
  primaryBytes: number;
  /** nPrimary × symbolBytes. */
  secondaryBytes: number;
  /** What storage is paid for: all slivers and n copies of the metadata. */
  encodedBytes: number;
}

/** A symbol together with its place. */
export interface IndexedBytes {
  index: number;
  data: Uint8Array;
}

/** The RedStuff codec, BLS12-381 (min-pk), as Walrus defines them. */
export interface CodecFace {
  /** Shape of a blob; throws if the size is too large for that many shards. */
  blobShape(size: number, nShards: number): BlobShape;
  /**
   * Encodes the file at `path` into the file at `outPath` (created or written over): sliver pair i
   * stands at i × (primaryBytes + secondaryBytes): primary sliver i, then the secondary sliver of
   * the pair, which has index n − 1 − i. Memory beyond page cache is bounded.
   */
  encodeFile(path: string, nShards: number, outPath: string): Promise<EncodedBlob>;
  /** Metadata and blob ID only. */
  fileMetadata(path: string, nShards: number): Promise<EncodedBlob>;
  /** As `fileMetadata`, for bytes in memory (small blobs, tests). */
  bytesMetadata(data: Uint8Array, nShards: number): Promise<EncodedBlob>;
  /** The whole blob from any n − 2f primary or n − f secondary slivers (`index` = sliver index). */
  decode(
    size: number,
    nShards: number,
    type: 'primary' | 'secondary',
    slivers: IndexedBytes[],
  ): Promise<Buffer>;
  /**
   * As `decode` from primaries, but only of some systematic primary slivers, each into its place. The
   * places share no bytes with each other or with `slivers`, and are left alone until this settles.
   */
  recoverPrimaries(
    size: number,
    nShards: number,
    slivers: IndexedBytes[],
    places: IndexedBytes[],
  ): Promise<void>;
  /** Is this the sliver that the metadata commits to? (expands it and compares the Merkle root) */
  verifySliver(
    metadata: Uint8Array,
    nShards: number,
    type: 'primary' | 'secondary',
    index: number,
    data: Uint8Array,
  ): Promise<boolean>;
  /** Does this metadata belong to that blob ID, and is it well formed? */
  verifyMetadata(metadata: Uint8Array, nShards: number, blobId: Uint8Array): boolean;
  /** Symbols of a sliver at the positions `targets` (0 … n−1) of its expansion: what a node answers as decoding symbols. */
  sliverSymbols(
    type: 'primary' | 'secondary',
    nShards: number,
    data: Uint8Array,
    targets: number[],
  ): Promise<Buffer[]>;
  /** One recovery symbol with its Merkle proof (32 bytes a node, leaf upwards) within the sliver's tree. */
  recoverySymbol(
    type: 'primary' | 'secondary',
    nShards: number,
    data: Uint8Array,
    target: number,
  ): Promise<{ symbol: Buffer; proof: Buffer[] }>;
  /**
   * A sliver of `type` from symbols that other slivers (of the other axis) hold at its place;
   * `index` = index of the sliver that the symbol came from. A primary takes n − f, a secondary n − 2f.
   */
  recoverSliver(
    type: 'primary' | 'secondary',
    nShards: number,
    symbols: IndexedBytes[],
  ): Promise<Buffer>;
  /**
   * Several slivers at once: as `recoverSliver`, where the data of each input is one symbol of
   * `symbolBytes` for every wanted sliver, one behind the other; far quicker than one by one.
   */
  recoverSlivers(
    type: 'primary' | 'secondary',
    nShards: number,
    symbolBytes: number,
    symbols: IndexedBytes[],
  ): Promise<Buffer[]>;
  /** Secret and public key (48 bytes compressed, 96 uncompressed) from 32 random bytes. */
  blsKey(seed: Uint8Array): { secret: Buffer; public48: Buffer; public96: Buffer };
  blsSign(secret: Uint8Array, message: Uint8Array): Buffer;
  /** Public key of 48 or 96 bytes, signature of 96. */
  blsVerify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  blsAggregate(signatures: Uint8Array[]): Buffer;
  blsVerifyAggregate(publicKeys: Uint8Array[], message: Uint8Array, signature: Uint8Array): boolean;
}

// ---------------------------------------------------------------------------------- sealing

/** A run of plain bytes: of an open file, or zeros where `fd` is −1. */
export interface Piece {
  fd: number;
  offset: number;
  length: number;
}

/** A frame as content-defined cutting found it; offsets count within the region. */
export interface FrameCut {
  offset: number;
  length: number;
  /** 32 bytes: keyed BLAKE3 of the plaintext. */
  identity: Buffer;
}

/** A frame to be sealed: its slot is the nonce. */
export interface SealInput {
  slot: number;
  pieces: Piece[];
}

/** Where a sealed frame came to stand. */
export interface SealedFrame {
  slot: number;
  /** Offset in the pack file. */
  offset: number;
  /** Bytes in the pack, tag included. */
  sealedBytes: number;
  plainBytes: number;
  /** 0: stored as it is; 1: zstd. */
  compression: number;
}

/** Content-defined cutting, compression and encryption, in bulk and off the event loop. */
export interface SealFace {
  /**
   * Cuts each region (pieces in order) by FastCDC (sizes: FORMAT.md) with a gear table made
   * from the 32-byte `gearKey`; returns the frames of each region with identities under `identityKey`.
   * The definition of gear table, masks and normalisation is part of FORMAT.md.
   */
  cutRegions(
    gearKey: Uint8Array,
    identityKey: Uint8Array,
    regions: Piece[][],
  ): Promise<FrameCut[][]>;
  /** Keyed BLAKE3 of consecutive groups of a file (the last one may be short): 32 bytes a group. */
  hashGroups(key: Uint8Array, path: string, groupBytes: number): Promise<Buffer>;
  /**
   * Compresses (zstd, kept only if it saves at least 1/16) and encrypts frames (AES-256-GCM, nonce = slot
   * as 12 bytes big endian, associated data = `aadPrefix` ‖ slot u32 LE ‖ compression u8) one behind the
   * other into the open file `packFd` from `offset`.
   */
  sealFrames(
    packFd: number,
    offset: number,
    key: Uint8Array,
    aadPrefix: Uint8Array,
    frames: SealInput[],
  ): Promise<SealedFrame[]>;
  /** Seals bytes in memory (manifest, directory); the same format as `sealFrames`. */
  sealBytes(
    key: Uint8Array,
    aadPrefix: Uint8Array,
    slot: number,
    plain: Uint8Array,
  ): Promise<{ sealed: Buffer; compression: number }>;
  /** Opens a sealed frame; throws with a message starting `tag:` if the tag does not hold, `identity:` if `identity` (32 bytes) is given and differs. */
  openFrame(
    key: Uint8Array,
    aadPrefix: Uint8Array,
    slot: number,
    compression: number,
    plainBytes: number,
    sealed: Uint8Array,
    identityKey?: Uint8Array,
    identity?: Uint8Array,
  ): Promise<Buffer>;
  /** Keyed BLAKE3, 32 bytes. */
  keyedHash(key: Uint8Array, data: Uint8Array): Buffer;
}

// -------------------------------------------------------------------------------------- log

/** Local log: memory-mapped segments and checksums. */
export interface LogFace {
  /**
   * Makes a file that is there a segment of exactly `bytes`: filled with zeros, so that later syncs need
   * no file system journal, file and name fsynced; on a thread of its own, which leaves the disk
   * to others half of the time. ENOSPC rejects and leaves no file behind, and so does the loss of its name.
   */
  segmentPrepare(path: string, bytes: number): Promise<void>;
  /** Creates a segment with every block allocated but not written: what a sudden need for space gets, in microseconds. ENOSPC throws and leaves no file behind. */
  segmentAllocate(path: string, bytes: number): void;
  /** Maps a segment shared and writable. The mapping lives until `segmentUnmap`; `before`: an earlier one whose checksums were kept; `end`: where the log of an earlier process ends, which is gone on with. */
  segmentMap(
    path: string,
    before?: number,
    end?: number,
  ): { handle: number; fd: number; bytes: number };
  /** The mapped bytes, to be asked for once a mapping; V8 counts them as memory, so writing does without. */
  segmentView(handle: number): Buffer;
  /** Shows another file in the place of a mapped one, its view included; false if the sizes differ. */
  segmentRemap(handle: number, path: string): boolean;
  /**
   * Writes `head` (4 bytes of magic, 4 for the checksum, the rest) at `at` and `data` at `dataAt` of
   * a mapped segment. The checksum, put into `head` and returned, is the crc32c of what stands
   * behind it, continuing from `seed`.
   */
  segmentAppend(
    handle: number,
    at: number,
    head: Uint8Array,
    dataAt: number,
    data: Uint8Array,
    seed: number,
  ): number;
  /** Unmaps and closes; the caller guarantees that no view is used afterwards. `keep`: its checksums stay, for `segmentMap` or until the next call. */
  segmentUnmap(handle: number, keep?: boolean): void;
  /** Do the bytes [from, to) of a record's data match their checksum? 0: yes, 1: no, 2: to be asked again after `segmentVerify`. */
  segmentCheck(handle: number, from: number, to: number): number;
  /** Reads a whole segment, on a pool. Resolves with the ranges of data that do not match: [from, to, from, to …]. */
  segmentVerify(handle: number): Promise<number[]>;
  /**
   * fdatasync of the segment's file, on a thread of its own. Null if it was over within `patience`
   * microseconds; the caller waits that long, unless descriptor `company` (−1: none) can be read.
   */
  segmentSync(handle: number, patience: number, company: number): Promise<void> | null;
  /** crc32c (Castagnoli) of `data[from, to)`, continuing from `seed`. */
  crc32c(data: Uint8Array, from: number, to: number, seed: number): number;
  /** fallocate(PUNCH_HOLE | KEEP_SIZE). */
  punchHole(fd: number, offset: number, length: number): void;
  /** Next data (or hole) at or after `offset`; −1 if none (lseek SEEK_DATA, SEEK_HOLE). */
  seekData(fd: number, offset: number): number;
  seekHole(fd: number, offset: number): number;
}

// ------------------------------------------------------------------------------------- fuse

/** What to mount where. */
export interface MountRequest {
  /** First column of /proc/mounts. */
  source: string;
  /** Absolute path of an empty directory. */
  mountPoint: string;
  readOnly: boolean;
  /** Let other users in; permissions are checked by the kernel either way. */
  allowOther: boolean;
  /** Those of mount(2); of them fusermount3, which a plain user needs, knows MS_NOEXEC and MS_NOATIME, and always sets MS_NOSUID and MS_NODEV. */
  flags: number;
  readBytesMax: number;
}

/** What came of mounting or unmounting. */
export interface MountOutcome {
  /** Descriptor of the mounted device, −1 if there is none. */
  fd: number;
  /** What failed: `device`, `mount`, `helper` or `unmount`; empty if nothing did. */
  step: string;
  /** 0 where the helper said it in words only. */
  errno: number;
  message: string;
}

/** Requests and replies of a device. */
export interface FuseCalls {
  /** Length of the request just read, 0 when it is the event loop's turn, or a negative errno. */
  next(): number;
  /** Sends the reply buffer as far as its header says; 0 or a negative errno. */
  send(): number;
}

/** One open /dev/fuse, mounted. All calls but `notify` take microseconds. */
export interface FuseDevice {
  /** Its descriptor, readable while a request waits; −1 once closed. */
  readonly fd: number;
  /** Where `next` puts requests; to be asked for once. The payload of a WRITE starts on a page. */
  request(): Buffer;
  /** Where `send` takes replies from; to be asked for once. */
  reply(): Buffer;
  /** Calls back from the event loop whenever a request waits or the connection has ended. */
  start(onReadable: () => void): void;
  /** Begins a turn that the event loop has not asked for, behind an answer that was given late. */
  look(): void;
  /** What is called for every request, as plain functions: calling a method would cost as much again. */
  calls(): FuseCalls;
  /** Sends the first `length` bytes of the reply buffer with `views` (at most 1,000) behind them. */
  sendViews(length: number, views: Buffer[]): number;
  /** Sends a notification from a thread that serves nothing; resolves to 0 or a negative errno. */
  notify(message: Buffer): Promise<number>;
  /** Stops watching and closes the descriptor. */
  close(): void;
}

/** Mounting, and /dev/fuse on the event loop. */
export interface FuseFace {
  /** Takes over the descriptor; `ioBytes` is the largest WRITE and the largest reply body. */
  FuseDevice: new (
    fd: number,
    ioBytes: number,
  ) => FuseDevice;
  /** mount(2) as root, fusermount3 otherwise, on a thread of its own. */
  fuseMount(request: MountRequest): Promise<MountOutcome>;
  /** Takes an advisory lock on a file, made if absent: its descriptor, or −EWOULDBLOCK if another holds it, or a negative errno. Whoever has a copy of the descriptor holds the lock. */
  lockFile(path: string): number;
  /** Gives a lock back, for everybody who has a copy of the descriptor. */
  unlockFile(fd: number): void;
  /** A listening unix socket at `path`, where nothing is left of an earlier one: its descriptor, or a negative errno. */
  listenUnix(path: string): number;
  /** Nanoseconds of CLOCK_REALTIME_COARSE since a second of it; exact for 104 days around that one. */
  coarseNanoseconds(sinceSecond: number): number;
  /** umount2(2) or fusermount3 -u, on a thread of its own. */
  fuseUnmount(mountPoint: string, lazy: boolean): Promise<MountOutcome>;
}

// ---------------------------------------------------------------------------------- service

/** The service manager that started this process. */
export interface ServiceFace {
  /** One message (sd_notify(3)) to the socket at `address`, a path or `@` and an abstract name; throws if it is not taken at once. */
  notifyService(address: string, text: string): void;
}

// ---------------------------------------------------------------------------------- threads

/** What threads do about each other. */
export interface ThreadFace {
  /** Makes the calling thread one of the background, as the pool's are: nice 10, and whoever wakes up takes its processor at once (Linux 6.12); `name`: what it is called, 15 bytes at most. */
  enterBackground(name: string): void;
}

/** All that the addon offers. */
export type Native = ThreadFace & CodecFace & SealFace & LogFace & FuseFace & ServiceFace;

const require = createRequire(import.meta.url);

/** The addon, loaded once; fails with a clear message when it was not built. */
export const native: Native = (() => {
  try {
    return require(ADDON_PATH) as Native;
  } catch (cause) {
    throw new Error(
      `the native addon could not be loaded from ${ADDON_PATH}: run \`npm run native\` to build it`,
      { cause },
    );
  }
})();
