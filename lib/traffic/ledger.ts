import { ALL, DIMENSIONS, type Dimension, IN, OUT, REQ } from "./dimensions.ts";
import { clamp } from "./numbers.ts";

/** How the upstream charges output: as it is made, when the answer ends, or `max_tokens` in advance. */
export type Accounting = "continuous" | "at-end" | "reserve";

type Bucket = {
  known: boolean;
  /** Where it is not known, what is expected of it: 0 if nothing. */
  limit: number;
  rate: number;
  capacity: number;
  level: number;
  drift: number;
  corrected: number;
};

/**
 * The mirror of one pool's buckets: levels that refill continuously, in requests or tokens, at rates per second. Levels
 * may be negative. Everything that touches a level goes through here, so that a ledger shared by several instances can
 * stand in its place.
 */
export class Ledger {
  accounting: Accounting = "continuous";
  readonly #buckets: readonly [Bucket, Bucket, Bucket, Bucket];
  #nowS: number;

  constructor(nowS: number) {
    this.#nowS = nowS;
    this.#buckets = [emptyBucket(), emptyBucket(), emptyBucket(), emptyBucket()];
  }

  /** Whether requests, input and output all have a known limit. A lane may lack one; one is enough to begin. */
  get known(): boolean {
    return this.#buckets[REQ].known || this.#buckets[IN].known || this.#buckets[OUT].known;
  }

  isKnown(dimension: Dimension): boolean {
    return this.#buckets[dimension].known;
  }

  limit(dimension: Dimension): number {
    return this.#buckets[dimension].limit;
  }

  /** Refill per second, less what others are seen to use. */
  netRate(dimension: Dimension): number {
    const bucket = this.#buckets[dimension];
    return bucket.rate - bucket.drift;
  }

  rate(dimension: Dimension): number {
    return this.#buckets[dimension].rate;
  }

  drift(dimension: Dimension): number {
    return this.#buckets[dimension].drift;
  }

  capacity(dimension: Dimension): number {
    return this.#buckets[dimension].capacity;
  }

  level(dimension: Dimension): number {
    return this.#buckets[dimension].level;
  }

  /** The sum of all corrections ever made: what changed between two moments is the difference. */
  corrected(dimension: Dimension): number {
    return this.#buckets[dimension].corrected;
  }

  /** Brings the levels to `nowS`. Time never goes back. */
  refill(nowS: number): void {
    const elapsedS = nowS - this.#nowS;
    if (elapsedS <= 0) return;
    this.#nowS = nowS;
    for (const bucket of this.#buckets) {
      bucket.level = Math.min(bucket.capacity, bucket.level + (bucket.rate - bucket.drift) * elapsedS);
    }
  }

  take(dimension: Dimension, amount: number): void {
    this.#buckets[dimension].level -= amount;
  }

  /** Never over the brim. */
  give(dimension: Dimension, amount: number): void {
    const bucket = this.#buckets[dimension];
    bucket.level = Math.min(bucket.capacity, bucket.level + amount);
  }

  /** Input counts in its own bucket and in the combined one. A negative amount gives back. */
  takeInput(tokens: number): void {
    this.give(IN, -tokens);
    this.give(ALL, -tokens);
  }

  takeOutput(tokens: number): void {
    this.give(OUT, -tokens);
    this.give(ALL, -tokens);
  }

  /** Moves the level to where the headers say it is. */
  correct(dimension: Dimension, difference: number): void {
    const bucket = this.#buckets[dimension];
    bucket.level = Math.min(bucket.capacity, bucket.level + difference);
    bucket.corrected += difference;
  }

  /** What the limit probably is: a measure, and no bucket that could have room or not. */
  expect(dimension: Dimension, limit: number): void {
    const bucket = this.#buckets[dimension];
    if (bucket.known || limit <= 0) return;
    bucket.limit = limit;
    bucket.rate = limit / 60;
  }

  /** A limit heard for the first time, or a new one. `level` replaces the mirrored one, which else is only clipped. */
  setLimit(dimension: Dimension, limit: number, level?: number): void {
    const bucket = this.#buckets[dimension];
    bucket.drift = bucket.known && bucket.limit > 0 ? (bucket.drift * limit) / bucket.limit : 0;
    bucket.known = true;
    bucket.limit = limit;
    bucket.rate = limit / 60;
    bucket.capacity = limit;
    bucket.level = Math.min(limit, level ?? bucket.level);
  }

  /** The combined limit came to be no tighter than its parts. */
  forget(dimension: Dimension): void {
    Object.assign(this.#buckets[dimension], emptyBucket());
  }

  setCapacity(dimension: Dimension, capacity: number): void {
    const bucket = this.#buckets[dimension];
    bucket.capacity = capacity;
    bucket.level = Math.min(capacity, bucket.level);
  }

  /** What others use, per second; at most 90 % of the refill. */
  setDrift(dimension: Dimension, perSecond: number): void {
    const bucket = this.#buckets[dimension];
    bucket.drift = clamp(perSecond, 0, 0.9 * bucket.rate);
  }

  get knownDimensions(): readonly Dimension[] {
    return DIMENSIONS.filter((dimension) => this.#buckets[dimension].known);
  }
}

function emptyBucket(): Bucket {
  const infinite = Number.POSITIVE_INFINITY;
  return { known: false, limit: 0, rate: 0, capacity: infinite, level: infinite, drift: 0, corrected: 0 };
}
