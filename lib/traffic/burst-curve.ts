import { at } from "./numbers.ts";

const LEAKS = [0.1, 0.25, 0.5, 1] as const;
const MEMORY_S = 600;

/**
 * The most output that critical calls have asked for within any span of time, kept as four leaky buckets that leak at
 * shares of the limit's rate, with their peaks remembered for ten minutes.
 */
export class BurstCurve {
  readonly #fill = new Float64Array(LEAKS.length);
  readonly #peak = new Float64Array(LEAKS.length);
  #nowS: number;

  constructor(nowS: number) {
    this.#nowS = nowS;
  }

  /** A call of any class has arrived, asking for `criticalTokens` if it is critical, else for none. */
  arrive(criticalTokens: number, rate: number, capacity: number, nowS: number): void {
    const elapsedS = Math.max(0, nowS - this.#nowS);
    this.#nowS = Math.max(this.#nowS, nowS);
    const fade = Math.exp(-elapsedS / MEMORY_S);
    for (let index = 0; index < LEAKS.length; index += 1) {
      const left = Math.max(0, at(this.#fill, index) - at(LEAKS, index) * rate * elapsedS);
      const fill = Math.min(capacity, left + criticalTokens);
      this.#fill[index] = fill;
      this.#peak[index] = Math.max(at(this.#peak, index) * fade, fill);
    }
  }

  clear(): void {
    this.#fill.fill(0);
    this.#peak.fill(0);
  }

  /** The most that may be asked for within `seconds`; the curve rises and bends down. */
  within(seconds: number, rate: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let index = 0; index < LEAKS.length; index += 1) {
      least = Math.min(least, at(this.#peak, index) + at(LEAKS, index) * rate * seconds);
    }
    return least;
  }
}
