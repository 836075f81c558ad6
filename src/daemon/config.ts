/** What a daemon is told when it starts; goes over the private channel to the child, never argv. */
import type { Shown } from '../fuse/filesystem.ts';
import type { NetworkSettings, VolumeSettings } from '../volume/settings.ts';

/** Limits of upload and download as text. */
export interface RateTexts {
  readonly upload: string;
  readonly download: string;
}

/** Everything that serving a volume needs. */
export interface DaemonConfig {
  readonly name: string;
  readonly mountPoint: string;
  readonly volume: VolumeSettings;
  readonly networkName: string;
  readonly network: NetworkSettings;
  /** 32 bytes. */
  readonly volumeKey: Uint8Array;
  readonly readOnly: boolean;
  readonly allowOther: boolean;
  /** Flags of mount(2). */
  readonly flags: number;
  /** Limits of traffic with storage nodes, as rates or timetables (`parseRatePlan`). */
  readonly limits: RateTexts;
  /** Owner and permissions that the mount shows instead of those stored. */
  readonly shown: Shown;
  /** What df shows as the drive's size. */
  readonly sizeBytes: number | undefined;
  /** Stop when the command that started the daemon is gone. */
  readonly tethered: boolean;
  /** Longest wait of a read for the network. */
  readonly readTimeoutMs: number;
  /** Longest wait for the last flush after SIGTERM or an unmount from outside. */
  readonly stopTimeoutMs: number;
}

/** What the keeper says to the command that started it. */
export type StartMessage =
  | { readonly type: 'mounted' }
  | {
      readonly type: 'failed';
      readonly code: string;
      readonly kind: string;
      readonly message: string;
    };
