/** How often, and after which waits, a daemon that dies is started again. */

/** When daemons that die are no longer started again. */
export interface Patience {
  /** Deaths in a row, each soon after the last, that are too many. */
  readonly deathsMax: number;
  /** A daemon that has served this long did not die soon. */
  readonly soonMs: number;
  /** Deaths in a row after which the next start waits, at first this long, then twice as long each time. */
  readonly freeDeaths: number;
  readonly waitMs: number;
  readonly waitMsMax: number;
}

/** Half a minute in all. */
export const PATIENCE: Patience = {
  ...{ deathsMax: 15, soonMs: 10_000, freeDeaths: 5 },
  ...{ waitMs: 100, waitMsMax: 5000 },
};

/** How long to wait after so many deaths in a row. */
export const waitMsAfter = (deaths: number, patience: Patience): number => {
  const late = deaths - patience.freeDeaths;
  return late > 0 ? Math.min(patience.waitMs * 2 ** (late - 1), patience.waitMsMax) : 0;
};
