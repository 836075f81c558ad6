/**
 * What the daemon changes itself, the kernel has to be told, for it trusts what it was told
 * before. The device sends these from a thread that serves nothing: the kernel may first write
 * back dirty pages, or wait for a directory that a request is busy with, and both need answers.
 */
import { Errno } from '../base/errno.ts';
import { TuskError } from '../base/errors.ts';
import type { Ino, Name } from '../base/ids.ts';
import type { FuseDevice } from '../native.ts';
import { Reply } from './reply.ts';
import { OUT_HEADER_BYTES as BODY, Notify } from './wire.ts';

const INODE_BYTES = 24;
const ENTRY_BYTES = 16;

/** Forget attributes and content (or listing) of an inode; resolves when the kernel has. */
export const invalidateInode = async (device: FuseDevice, ino: Ino): Promise<void> => {
  const message = new Reply(Buffer.alloc(BODY + INODE_BYTES));
  message.header(BODY + INODE_BYTES, Notify.INVAL_INODE, 0, 0);
  message.u64(BODY, ino);
  // From offset 0, as far as there is anything (length 0).
  await send(device, message.buffer);
};

/** Forget what is known of a name, also that it does not exist; resolves when the kernel has. */
export const invalidateEntry = async (
  device: FuseDevice,
  parent: Ino,
  name: Name,
): Promise<void> => {
  const length = BODY + ENTRY_BYTES + name.length + 1;
  const message = new Reply(Buffer.alloc(length));
  message.header(length, Notify.INVAL_ENTRY, 0, 0);
  message.u64(BODY, parent);
  message.u32(BODY + 8, name.length);
  message.buffer.latin1Write(name, BODY + ENTRY_BYTES, name.length);
  await send(device, message.buffer);
};

/** Forget the attributes of an inode; resolves to false if the kernel does not hold it (any more). */
export const isHeld = async (device: FuseDevice, ino: Ino): Promise<boolean> => {
  const message = new Reply(Buffer.alloc(BODY + INODE_BYTES));
  message.header(BODY + INODE_BYTES, Notify.INVAL_INODE, 0, 0);
  message.u64(BODY, ino);
  // A negative offset leaves the content alone.
  message.u64(BODY + 8, -1);
  return (await device.notify(message.buffer)) !== -Errno.ENOENT;
};

/** Give every request that was read and not answered once more, the oldest before what is new. */
export const resend = async (device: FuseDevice): Promise<void> => {
  const message = new Reply(Buffer.alloc(BODY));
  message.header(BODY, Notify.RESEND, 0, 0);
  await send(device, message.buffer);
};

/** What the kernel does not know (ENOENT) it need not forget, and less so once unmounted. */
const HARMLESS = [0, -Errno.ENOENT, -Errno.ENODEV, -Errno.ENOTCONN];

const send = async (device: FuseDevice, message: Buffer): Promise<void> => {
  const result = await device.notify(message);
  if (!HARMLESS.includes(result)) {
    throw new TuskError('io', `the kernel refused a notification (errno ${-result})`);
  }
};
