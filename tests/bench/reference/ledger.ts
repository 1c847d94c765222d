import { LIMITERS } from "../../../lib/anthropic/pools.ts";
import type { LimitReadings } from "../../../lib/traffic/dimensions.ts";
import { n } from "./reserves.ts";

const [REQ, IN, OUT] = [0, 1, 2] as const;
const DIMENSIONS = [REQ, IN, OUT] as const;
const MODES = ["continuous", "at-end", "reserve"] as const;

export type Mode = (typeof MODES)[number];
export type Expected = { level: number[]; corrected: number[] };
/** What had been sent when a call was: for telling how output is charged. */
export type Snapshot = { sentS: number; made: number; open: number; held: number };

/** The mirror of one upstream's buckets, corrected by headers. */
export class Ledger {
  readonly limit = [0, 0, 0];
  readonly rate = [0, 0, 0];
  readonly capacity = [0, 0, 0];
  readonly level = [0, 0, 0];
  readonly #corrected = [0, 0, 0];
  readonly #samples: number[][] = [[], [], []];
  readonly #errors = [0, 0, 0];
  #sampled = 0;
  #previous: (Snapshot & { remaining: number }) | null = null;
  #nowS = 0;
  mode: Mode = "continuous";

  get isKnown(): boolean {
    return n(this.limit, REQ) > 0;
  }

  refill(nowS: number): void {
    const elapsedS = nowS - this.#nowS;
    if (elapsedS <= 0) return;
    this.#nowS = nowS;
    for (const d of DIMENSIONS) this.give(d, n(this.rate, d) * elapsedS);
  }

  /** Adds to a level, never above the brim; takes when the amount is negative. */
  give(d: number, amount: number): void {
    this.level[d] = Math.min(n(this.capacity, d), n(this.level, d) + amount);
  }

  expected(): Expected {
    return { level: [...this.level], corrected: [...this.#corrected] };
  }

  /** `sent` is null for a refusal. */
  observe(readings: LimitReadings, sent: { expected: Expected; snapshot: Snapshot } | null): void {
    for (const d of DIMENSIONS) {
      const reading = readings[LIMITERS[d]];
      if (!reading || reading.limit <= 0 || reading.remaining > 1.05 * reading.limit) continue;
      const { limit, remaining, resetInS } = reading;
      const isFirst = n(this.limit, d) === 0;
      if (Math.abs(limit - n(this.limit, d)) > 0.5) this.#takeLimit(d, limit, isFirst ? remaining : n(this.level, d));
      if (remaining > 0) this.#learnCapacity(d, remaining + n(this.rate, d) * (resetInS - 0.5));
      if (!isFirst) this.#correct(d, remaining, resetInS, sent?.expected ?? null);
    }
    const output = readings.output_tokens;
    if (sent && output) this.#detect({ ...sent.snapshot, remaining: output.remaining }, output.limit);
  }

  #takeLimit(d: number, limit: number, level: number): void {
    this.limit[d] = limit;
    this.rate[d] = limit / 60;
    this.capacity[d] = limit;
    this.#samples[d] = [];
    this.level[d] = Math.min(limit, level);
  }

  #learnCapacity(d: number, sample: number): void {
    const samples = this.#samples[d] ?? [];
    samples.push(sample);
    if (samples.length > 24) samples.shift();
    if (samples.length < 8) return;
    const limit = n(this.limit, d);
    const capacity = Math.min(limit, Math.max(0.01 * limit, Math.max(...samples) + n(this.rate, d) / 2));
    this.capacity[d] = capacity > 0.93 * limit ? limit : capacity;
    this.give(d, 0);
  }

  #correct(d: number, remaining: number, resetInS: number, expected: Expected | null): void {
    const rate = n(this.rate, d);
    let seen = remaining;
    let tolerance = d === REQ ? 1 : 500;
    if (remaining === 0) {
      seen = Math.min(d === REQ ? 0 : 500, n(this.capacity, d) - rate * (resetInS - 0.5));
      tolerance = Math.max(tolerance, rate / 2);
    }
    const now = n(this.level, d);
    const then = expected ? n(expected.level, d) + n(this.#corrected, d) - n(expected.corrected, d) : now;
    const low = Math.min(then, now) - tolerance;
    const high = Math.max(then, now) + tolerance;
    if (seen < low) this.#shift(d, seen - low);
    else if (seen > high) this.#shift(d, (seen - high) / 2);
  }

  #shift(d: number, step: number): void {
    this.give(d, step);
    this.#corrected[d] = n(this.#corrected, d) + step;
  }

  #detect(sample: Snapshot & { remaining: number }, limit: number): void {
    if (sample.remaining <= 1_500 || sample.remaining > limit - 1_500) {
      this.#previous = null;
      return;
    }
    const previous = this.#previous;
    if (previous && sample.sentS < previous.sentS) return;
    this.#previous = sample;
    if (!previous || sample.sentS - previous.sentS > 10) return;
    const base = n(this.rate, OUT) * (sample.sentS - previous.sentS) - (sample.made - previous.made);
    const predicted = [base, base + sample.open - previous.open, base - (sample.held - previous.held)];
    const observed = sample.remaining - previous.remaining;
    for (const [k, guess] of predicted.entries()) {
      const off = Math.max(0, Math.abs(observed - guess) - 600);
      this.#errors[k] = 0.98 * n(this.#errors, k) + Math.min(1e8, off ** 2);
    }
    this.#sampled += 1;
    const best = this.#errors.indexOf(Math.min(...this.#errors));
    const mode = MODES[best];
    if (this.#sampled < 15 || !mode || n(this.#errors, best) >= 0.4 * n(this.#errors, MODES.indexOf(this.mode))) return;
    this.mode = mode;
    this.#shift(OUT, sample.remaining - n(this.level, OUT));
    this.#sampled = 0;
  }
}
