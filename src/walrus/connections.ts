/** Keep-alive connections of a client; after the machine slept new ones are made, for the old are dead, though nobody said so. */
import { Agent } from 'undici';
import { type BootTime, bootTime } from '../base/clock.ts';

export class Connections {
  readonly #options: Agent.Options;
  readonly #time: BootTime;
  #agent: Agent;
  /** The sleep of the machine that the connections have outlived. */
  #sleptMs: number;

  constructor(options: Agent.Options = {}, time = bootTime) {
    this.#options = options;
    this.#time = time;
    this.#agent = new Agent(options);
    this.#sleptMs = time.sleptMs;
  }

  /** What the next request goes over; what waits on connections from before a sleep fails. */
  get agent(): Agent {
    this.#time.nowMs();
    if (this.#time.sleptMs !== this.#sleptMs) {
      this.#sleptMs = this.#time.sleptMs;
      void this.#agent.destroy();
      this.#agent = new Agent(this.#options);
    }
    return this.#agent;
  }

  /** Closes every connection. */
  close(): Promise<void> {
    return this.#agent.destroy();
  }
}
