/**
 * Beginning to serve a mount: as its first daemon, or where the last one died. Then the kernel is
 * told to send again what has no answer, the one change among it that was made already is answered
 * from the log, and files without a name are kept as long as the kernel holds them.
 */
import { messageOf } from '../base/errors.ts';
import { failpoint } from '../base/failpoints.ts';
import type { Ino } from '../base/ids.ts';
import { log } from '../base/log.ts';
import type { Shown } from '../fuse/filesystem.ts';
import type { Mount } from '../fuse/mount.ts';
import { isHeld, resend } from '../fuse/notify.ts';
import { Session, type SessionEnd } from '../fuse/session.ts';
import type { MetaIndex } from '../meta/index.ts';
import type { Vfs } from '../vfs/vfs.ts';
import type { Handover } from './handover.ts';

/** What a session is made of. */
export interface SessionParts {
  readonly mount: Mount;
  readonly index: MetaIndex;
  readonly vfs: Vfs;
  /** Owner and permissions that the mount shows instead of those stored. */
  readonly shown: Shown;
  readonly handover: Pick<Handover, 'mount' | 'agreement'>;
}

/** A session that serves, and its end. */
export const takeUp = async (
  parts: SessionParts,
): Promise<{ session: Session; ended: Promise<SessionEnd> }> => {
  const { mount, index, vfs, handover, shown } = parts;
  const { lastAnswer } = index;
  const session = new Session(mount.device, vfs, {
    ...{ shown, mount: handover.mount, cause: index.cause, agreement: handover.agreement },
    changedBefore: mark =>
      lastAnswer?.request === mark ? vfs.changedBefore(lastAnswer) : undefined,
  });
  if (handover.agreement === undefined) {
    index.removeOrphans();
    return { session, ended: session.run() };
  }
  vfs.takeOver();
  const orphans = index.orphans();
  failpoint('fuse.resend');
  await resend(mount.device);
  const ended = session.run();
  const unanswered = lastAnswer?.isNameless === true ? lastAnswer.ino : 0;
  removeForgotten(parts, orphans, unanswered).catch(error =>
    // Unmounted meanwhile, most likely.
    log('daemon').info({ error: messageOf(error) }, 'files without a name go with the next mount'),
  );
  return { session, ended };
};

/**
 * Removes what has no name and what the kernel does not hold: the last daemon may have heard of
 * that and died of it. An inode whose making is still to be answered is not known to the kernel yet.
 */
const removeForgotten = async (
  { mount, vfs }: SessionParts,
  orphans: readonly Ino[],
  unanswered: Ino,
): Promise<void> => {
  for (const ino of orphans)
    if (ino !== unanswered && !(await isHeld(mount.device, ino))) vfs.forget(ino, 0);
};
