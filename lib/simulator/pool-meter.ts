import { Bucket } from "./bucket.ts";

export type MeterLimits = { requests: number; input_tokens: number; output_tokens: number };
export type MeterLimiter = keyof MeterLimits;
export const METER_LIMITERS = ["requests", "input_tokens", "output_tokens"] as const;

/** An answer being made: how many tokens it has cost up to a time, never falling. */
export type Production = { producedAt(nowMs: number): number };

/** The three buckets of one pool in one lane, and the answers that are draining the output one. */
export class PoolMeter {
  readonly buckets: Record<MeterLimiter, Bucket>;
  #open = new Map<Production, number>();

  constructor(limits: MeterLimits, nowMs: number) {
    this.buckets = {
      requests: new Bucket(limits.requests, nowMs),
      input_tokens: new Bucket(limits.input_tokens, nowMs),
      output_tokens: new Bucket(limits.output_tokens, nowMs),
    };
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

  /** From now on the answer's tokens are charged as they appear. */
  begin(production: Production, nowMs: number): void {
    this.settle(nowMs);
    this.#open.set(production, 0);
  }

  /** Charges the rest and forgets the answer. */
  end(production: Production, nowMs: number): void {
    this.settle(nowMs);
    this.#open.delete(production);
  }

  setLimits(limits: Partial<MeterLimits>, nowMs: number): void {
    this.settle(nowMs);
    for (const limiter of METER_LIMITERS) {
      const value = limits[limiter];
      if (value !== undefined) this.buckets[limiter].setLimit(value);
    }
  }
}
