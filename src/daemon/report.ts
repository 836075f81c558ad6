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
  durability: { received: Amount; local: Amount; certified: Amount; checkpointed: Amount };
  /** Age of the oldest staged bytes in ms; 0 if none. */
  oldestStagedMs: number;
  flush: FlushReport;
  /** Sequence number of the last checkpoint; 0 if none. */
  checkpoint: number;
  epoch: number | null;
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
  /** As in `StatusReport`: what is pending may be lost then. */
  fault: string;
  /** Set by a lazy unmount: programs still have files open, the daemon stays until they close them. */
  openFiles?: boolean;
  wal: string;
  sui: string;
}

/** Progress of `sync` and `umount`. */
export interface SyncProgress {
  label: string;
  done: number;
  total: number;
}
