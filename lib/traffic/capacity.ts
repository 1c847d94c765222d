import { at } from "./numbers.ts";

const SAMPLES = 24;
const ENOUGH = 8;

/**
 * Learns how much a bucket holds when full. A reading with something left tells it: what is left, and what would still
 * flow in until the reset. The documented capacity is a minute of limit, but shorter ones are threatened.
 */
export class CapacityLearner {
  readonly #ring = new Float64Array(SAMPLES);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  /** Takes a reading; the capacity as far as known, or null while readings are too few. */
  learn(reading: { limit: number; remaining: number; resetInS: number }): number | null {
    const { limit, remaining, resetInS } = reading;
    const rate = limit / 60;
    // Reset is rounded up to a whole second: half of one is what it is too long on average.
    this.#ring[this.#count % SAMPLES] = remaining + rate * (resetInS - 0.5);
    this.#count += 1;
    if (this.#count < ENOUGH) return null;
    let most = 0;
    for (let index = 0; index < Math.min(this.#count, SAMPLES); index += 1)
      most = Math.max(most, at(this.#ring, index));
    const capacity = Math.min(limit, Math.max(0.01 * limit, most + rate / 2));
    return capacity > 0.93 * limit ? limit : capacity;
  }
}
