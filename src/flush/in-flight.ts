/** Packs of one flush that are on their way at a time: while they wait for the network, the next is sealed. */

/** Sealed packs that are being uploaded, beside the one in the making: bounds scratch space. */
const PACKS_MAX = 2;

/** Uploads that run behind the back of whoever seals. */
export class PacksInFlight {
  readonly #running = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  /** True while no pack is on its way. */
  get isEmpty(): boolean {
    return this.#running.size === 0;
  }

  /** Starts an upload once there is room for it; throws what an earlier one failed with. */
  async add(upload: () => Promise<void>): Promise<void> {
    while (this.#running.size >= PACKS_MAX) await Promise.race(this.#running);
    this.#check();
    const run = upload()
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Resolves when all have arrived; throws what the first failed one failed with. */
  async arrived(): Promise<void> {
    await this.settled();
    this.#check();
  }

  /** Resolves when none runs any more, however they ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
