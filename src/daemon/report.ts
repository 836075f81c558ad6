/** What a daemon tells about itself: the answers of the control socket, as plain data (money as decimal strings). */

/** Files and bytes in one state of durability; each file counts in the weakest state of its bytes. */
export interface Amount {
  files: number;
  bytes: number;
}

/** How far the running (or last) flush has come. */
export interface FlushReport {
  state: string;
  bytesDone: number;
  bytesTotal: number;
  /** Bytes a second over the running flush. */
  rate: number;
  /** Milliseconds left at that rate; null when unknown. */
  leftMs: number | null;
  /** Packs sealed here that the network does not surely hold yet. */
  packsPending: number;
  /** Why it does not go on, in words; empty while it does. */
  pending: string;
}

/** A storage node as this daemon sees it. */
export interface NodeReport {
  name: string;
  address: string;
  shards: number;
  state: string;
  lastError: string;
}

/** Until when what is checkpointed is paid. Epochs end for good: the first one that is not paid is given. */
export interface PaidReport {
  /** Of what is not expired, the end that comes first; null if nothing is checkpointed. */
  endEpoch: number | null;
  /** Paid epochs until then, the running one counted; null when unknown. */
  epochsLeft: number | null;
  /** When that will be (ms since 1970), if the chain says how long epochs are. */
  endMs: number | null;
  /** Files of which bytes end then, and those of which bytes are no longer paid. */
  ending: Amount;
  expired: Amount;
  /** Of the checkpoint itself, its index groups included; null when unknown. */
  checkpointEndEpoch: number | null;
  /** What must not be overlooked, in words. */
  warnings: string[];
}

/** `tuskfs status`. */
export interface StatusReport {
  volume: string;
  network: string;
  mountPoint: string;
  pid: number;
  /** Process that would start the daemon again; null if it is gone. */
  keeper: number | null;
  /** Daemons that served this mount before, and how the last of them ended. */
  restarts: number;
  lastEnd: string;
  readOnly: boolean;
  /** Why the volume takes no changes any more (a broken disk); empty while it does. */
  fault: string;
  /** Which file of the journal cannot be read and what to do, for what is shown as 0 therefore; empty if all can, absent from a daemon that is older than this. */
  damage?: string;
  durability: { received: Amount; local: Amount; certified: Amount; checkpointed: Amount };
  /** Age of the oldest staged bytes in ms; 0 if none. */
  oldestStagedMs: number;
  flush: FlushReport;
  /** Sequence number of the last checkpoint; 0 if none. */
  checkpoint: number;
  epoch: number | null;
  paid: PaidReport;
  nodes: NodeReport[];
  wallet: { address: string; wal: string | null; sui: string | null };
  /** What this volume has cost since it was made. */
  cost: { wal: string; sui: string; packs: number; encodedBytes: number };
  cache: { bytes: number };
  /** Why the network's side is unknown, if it is. */
  networkError: string;
  /** Limits of traffic with storage nodes (`off`, `10M`, timetables); null when unknown. */
  limits: { upload: string; download: string } | null;
}

/** Result of `sync` and `umount`. */
export interface SyncReport {
  checkpoint: number;
  /** Bytes that are not checkpointed and why; empty when all is. */
  pending: string;
  pendingBytes: number;
  /** True if what is pending does not go on by itself: `pending` says what to do. */
  isStuck: boolean;
  /** As in `StatusReport`: what is pending may be lost then. */
  fault: string;
  /** Set by an unmount: open files or other mount namespaces still hold the mount, the daemon stays until they let go. */
  isHeld?: boolean;
  /** Of `StatusReport.paid`. */
  warnings: string[];
  wal: string;
  sui: string;
}

/** Progress of `sync` and `umount`. */
export interface SyncProgress {
  label: string;
  done: number;
  total: number;
}
