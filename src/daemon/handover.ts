/**
 * What a keeper and its daemons say to each other. A keeper may be older than its daemon (an
 * upgrade restarts the daemon only): fields are added, never changed.
 */
import type { Agreement } from '../fuse/init.ts';
import type { SyncReport } from './report.ts';

/** What a daemon finds as its own descriptors, beside the private channel (3). */
export const HANDED = { device: 4, control: 5, lock: 6 } as const;

/** How a mount was served until now. */
export interface Handover {
  /** Without symbolic links. */
  readonly mountPoint: string;
  /** Number of this mount, not 0; other than that of any mount before. */
  readonly mount: number;
  /** Process of the keeper. */
  readonly keeper: number;
  /** What the first daemon agreed on with the kernel; undefined to the first. */
  readonly agreement: Agreement | undefined;
  /** Daemons that served this mount before. */
  readonly restarts: number;
  /** How the last one ended; empty to the first. */
  readonly lastEnd: string;
}

/** First message to a daemon. */
export interface DaemonStart<Config> {
  readonly config: Config;
  readonly handover: Handover;
}

/** Sent to a daemon that shall make room for the next. */
export const RESTART = 'restart';

/** What a daemon says. */
export type FromDaemon =
  /** The mount is usable. */
  | { readonly type: 'mounted'; readonly agreement: Agreement }
  /** It will not be, and why. */
  | {
      readonly type: 'failed';
      readonly code: string;
      readonly kind: string;
      readonly message: string;
    }
  /** The mount is gone, and the daemon goes with this exit code; the report is that of the last flush. */
  | { readonly type: 'ended'; readonly code: number; readonly report?: SyncReport }
  /** Settings that the next daemon shall have instead of those it would be told. */
  | { readonly type: 'changed'; readonly config: object }
  /** It ends in good order for the next to take over. */
  | { readonly type: 'restarting' };
