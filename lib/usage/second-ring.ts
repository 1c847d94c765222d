/** What is charted of each second. Input and cache writes are counted against a limit; cache reads mostly are not. */
export const SERIES_FIELDS = ["requests", "input", "cacheWrite", "cacheRead", "output"] as const;
export type SeriesField = (typeof SERIES_FIELDS)[number];

/** What is counted each second. */
export const FIELDS = [...SERIES_FIELDS, "refused"] as const;
export type Field = (typeof FIELDS)[number];

const EMPTY = -1;

/**
 * Use per second over the last `seconds` seconds, in constant memory. A second that was overwritten by a later one
 * reads as zero, and so does one that was never written.
 */
export class SecondRing {
  readonly #seconds: number;
  readonly #stamps: Float64Array;
  readonly #values: Float64Array;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#stamps = new Float64Array(seconds).fill(EMPTY);
    this.#values = new Float64Array(seconds * FIELDS.length);
  }

  /** `second` counts from the epoch. What is older than the ring is dropped. */
  add(second: number, field: Field, amount: number): void {
    const slot = second % this.#seconds;
    const stamp = this.#stamps[slot] ?? EMPTY;
    if (stamp > second) return;
    if (stamp !== second) {
      this.#stamps[slot] = second;
      this.#values.fill(0, slot * FIELDS.length, (slot + 1) * FIELDS.length);
    }
    const index = slot * FIELDS.length + FIELDS.indexOf(field);
    this.#values[index] = (this.#values[index] ?? 0) + amount;
  }

  at(second: number, field: Field): number {
    const slot = second % this.#seconds;
    return this.#stamps[slot] === second ? (this.#values[slot * FIELDS.length + FIELDS.indexOf(field)] ?? 0) : 0;
  }

  /** The sum over `from` < second ≤ `to`. */
  sum(field: Field, from: number, to: number): number {
    let total = 0;
    for (let second = Math.max(from + 1, to - this.#seconds + 1); second <= to; second++)
      total += this.at(second, field);
    return total;
  }
}
