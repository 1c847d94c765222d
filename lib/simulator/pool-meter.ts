import { AccelerationLimiter, type AccelerationOptions } from "./acceleration.ts";
import { Bucket } from "./bucket.ts";

export type MeterLimits = { requests: number; input_tokens: number; output_tokens: number };
export type MeterLimiter = keyof MeterLimits;
export const METER_LIMITERS = ["requests", "input_tokens", "output_tokens"] as const;

/**
 * When output is charged: as it is made (what the documentation says), all at the end of an answer, or `max_tokens` at
 * its admission with the rest given back at the end (as it once was, and as other platforms do).
 */
export const ACCOUNTING_MODES = ["continuous", "at-end", "reserve"] as const;
export type Accounting = (typeof ACCOUNTING_MODES)[number];

export type MeterOptions = { accounting: Accounting; acceleration: AccelerationOptions | null };

const DEFAULT_OPTIONS: MeterOptions = { accounting: "continuous", acceleration: null };

/** An answer being made: how many tokens it has cost up to a time, never falling. */
export type Production = { producedAt(nowMs: number): number };

/** The three buckets of one pool in one lane, and the answers that are draining the output one. */
export class PoolMeter {
  readonly buckets: Record<MeterLimiter, Bucket>;
  readonly acceleration: AccelerationLimiter | null;
  #accounting: Accounting;
  #open = new Map<Production, number>();

  constructor(limits: MeterLimits, nowMs: number, options: MeterOptions = DEFAULT_OPTIONS) {
    this.buckets = {
      requests: new Bucket(limits.requests, nowMs),
      input_tokens: new Bucket(limits.input_tokens, nowMs),
      output_tokens: new Bucket(limits.output_tokens, nowMs),
    };
    this.#accounting = options.accounting;
    this.acceleration = options.acceleration && new AccelerationLimiter(options.acceleration, nowMs);
  }

  /** Brings all levels to `nowMs`, charging what open answers have produced since the last time. */
  settle(nowMs: number): void {
    let drained = 0;
    for (const [production, charged] of this.#open) {
      const produced = production.producedAt(nowMs);
      if (produced === charged) continue;
      drained += produced - charged;
      this.#open.set(production, produced);
    }
    this.buckets.requests.settle(nowMs);
    this.buckets.input_tokens.settle(nowMs);
    this.buckets.output_tokens.settle(nowMs, drained);
  }

  /**
   * What admission holds of the output bucket: nothing, but in mode `reserve` the call's `max_tokens`. A call that asks
   * for more than the whole bucket still has to fit into it some time.
   */
  outputHold(maxTokens: number): number {
    if (this.#accounting !== "reserve") return 0;
    return Math.min(maxTokens, Math.floor((this.buckets.output_tokens.limit * 999) / 1_000));
  }

  /** The answer begins. In mode `continuous` its tokens are charged from now on as they appear. */
  begin(production: Production, nowMs: number): void {
    this.settle(nowMs);
    if (this.#accounting === "continuous") this.#open.set(production, 0);
  }

  /** Charges what is not charged yet, gives back what was held, and forgets the answer. */
  end(production: Production, nowMs: number, held = 0): void {
    this.settle(nowMs);
    if (this.#accounting === "continuous") this.#open.delete(production);
    else this.buckets.output_tokens.take(production.producedAt(nowMs) - held);
  }

  /** Gives back what was held for an answer that never began. */
  release(held: number, nowMs: number): void {
    this.settle(nowMs);
    this.buckets.output_tokens.take(-held);
  }

  setLimits(limits: Partial<MeterLimits>, nowMs: number): void {
    this.settle(nowMs);
    for (const limiter of METER_LIMITERS) {
      const value = limits[limiter];
      if (value !== undefined) this.buckets[limiter].setLimit(value);
    }
  }
}
