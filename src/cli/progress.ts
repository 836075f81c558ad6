/** A progress bar on a terminal: bytes, rate, time left. Silent elsewhere. */
import { formatBytes, formatDuration } from '../base/figures.ts';

/** What a bar shows. */
export interface Progress {
  label: string;
  done: number;
  total: number;
}

/** Draws on stderr while it is a terminal, at most ten times a second. */
export class ProgressBar {
  readonly #enabled: boolean;
  readonly #start = performance.now();
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(quiet: boolean) {
    this.#enabled = !quiet && process.stderr.isTTY === true;
  }

  /** Shows the state. */
  draw(progress: Progress): void {
    const now = performance.now();
    if (!this.#enabled || now - this.#drawnAt < 100) return;
    this.#drawnAt = now;
    process.stderr.write(`\r\x1b[K${barText(progress, now - this.#start)}`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#enabled && this.#drawnAt > 0) process.stderr.write('\r\x1b[K');
  }
}

/** One line: label, bar, share, bytes, rate, time left. */
export const barText = ({ label, done, total }: Progress, elapsedMs: number): string => {
  const share = total === 0 ? 0 : Math.min(1, done / total);
  const width = 24;
  const filled = Math.round(share * width);
  const bar = `${'█'.repeat(filled)}${'░'.repeat(width - filled)}`;
  const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
  const left =
    rate > 0 && done < total ? ` ${formatDuration(((total - done) / rate) * 1000)} left` : '';
  return `${label} ${bar} ${Math.floor(share * 100)}% ${formatBytes(done)} of ${formatBytes(total)}, ${formatBytes(rate)}/s${left}`;
};
