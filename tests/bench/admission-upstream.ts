import type { LimitReadings } from "../../lib/traffic/dimensions.ts";

/** Requests, input tokens and output tokens, as indexes. */
const REQ = 0;
const IN = 1;
const OUT = 2;
const ROUNDED_TO = [1, 1_000, 1_000] as const;
const LIMITERS = ["requests", "input_tokens", "output_tokens"] as const;

export type UpstreamOptions = {
  /** RPM, ITPM, OTPM. */
  limits: readonly [number, number, number];
  /** Seconds of limit that a bucket holds. */
  burstS: number;
  accounting: "continuous" | "at-end" | "reserve";
  /** The whole prompt is needed and taken first, and what the cache served given back with the first token. */
  fullThenAdjust: boolean;
  acceleration: boolean;
  storm: { fromS: number; toS: number; share: number } | null;
  limitChange: { atS: number; factor: number } | null;
};

/** What a call asks of the upstream, and what it will really use. */
export type Load = {
  input: number;
  uncached: number;
  output: number;
  maxTokens: number;
  tokensPerS: number;
  foreign: boolean;
};

/** A call that is being answered. */
export type Open = { readonly load: Load; takenInput: number; startedS: number | null; charged: number };

export type Verdict =
  | { ok: true; open: Open; limits: LimitReadings }
  | {
      ok: false;
      status: 429 | 529;
      cause: "acceleration" | null;
      afterS: number;
      retryAfterS: number | null;
      limits: LimitReadings;
    };

/** The upstream of the benchmark: three buckets that refill continuously, exact in virtual time. */
export class UpstreamModel {
  readonly #options: UpstreamOptions;
  readonly #random: () => number;
  readonly #limits: number[];
  readonly #levels: number[];
  readonly #open = new Set<Open>();
  /** Taken since the start, what was given back deducted, by the gateway and by others. */
  readonly #taken = { gateway: [0, 0, 0], foreign: [0, 0, 0] };
  readonly #refilled = [0, 0, 0];
  #fast = 0;
  #slow = 0;
  #nowS = 0;
  #changed = false;

  constructor(options: UpstreamOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
    this.#limits = [...options.limits];
    this.#levels = options.limits.map((limit) => (limit * options.burstS) / 60);
  }

  admit(load: Load, nowS: number): Verdict {
    this.settle(nowS);
    const { storm, fullThenAdjust, accounting } = this.#options;
    if (storm && nowS >= storm.fromS && nowS < storm.toS && this.#random() < storm.share) {
      return { ok: false, status: 529, cause: null, afterS: 0.15, retryAfterS: null, limits: {} };
    }
    const estimate = (fullThenAdjust ? load.input : load.uncached) * (0.96 + 0.08 * this.#random());
    const takenInput = Math.min(estimate, 0.999 * this.#capacity(IN));
    const reserved = accounting === "reserve" ? Math.min(load.maxTokens, 0.999 * this.#capacity(OUT)) : 0;
    const needs = [1, takenInput, accounting === "reserve" ? reserved : 1];
    const waits = needs.map((need, index) => (need - this.#level(index)) / this.#rate(index));
    const waitS = Math.max(...waits);
    if (waitS > 0) {
      const retryAfterS = Math.max(1, Math.ceil(waitS));
      return { ok: false, status: 429, cause: null, afterS: 0.08, retryAfterS, limits: this.readings() };
    }
    if (this.#acceleratesTooFast(takenInput + 5 * load.output)) {
      const retryAfterS = Math.ceil(5 + 5 * this.#random());
      return { ok: false, status: 429, cause: "acceleration", afterS: 0.08, retryAfterS, limits: this.readings() };
    }
    this.#take(REQ, 1, load.foreign);
    this.#take(IN, takenInput, load.foreign);
    this.#take(OUT, reserved, load.foreign);
    const open: Open = { load, takenInput, startedS: null, charged: reserved };
    this.#open.add(open);
    return { ok: true, open, limits: this.readings() };
  }

  /** The first token: the input that was estimated is corrected, and output begins to flow. */
  begin(open: Open, nowS: number): void {
    this.settle(nowS);
    this.#take(IN, open.load.uncached - open.takenInput, open.load.foreign);
    open.startedS = nowS;
  }

  end(open: Open, nowS: number): void {
    this.settle(nowS);
    this.#open.delete(open);
    this.#take(OUT, open.load.output - open.charged, open.load.foreign);
  }

  /** Brings the levels to `nowS`; what streams drain meets the refill before the brim does. */
  settle(nowS: number): void {
    const change = this.#options.limitChange;
    if (change && !this.#changed && nowS >= change.atS) {
      this.#advance(change.atS);
      this.#changed = true;
      for (const index of [REQ, IN, OUT]) {
        this.#limits[index] = this.#limit(index) * change.factor;
        this.#levels[index] = Math.min(this.#level(index), this.#capacity(index));
      }
    }
    this.#advance(nowS);
  }

  /** What the headers of an answer admitted now say. */
  readings(): LimitReadings {
    const readings: LimitReadings = {};
    for (const [index, limiter] of LIMITERS.entries()) {
      const step = ROUNDED_TO[index] ?? 1;
      const level = Math.max(0, this.#level(index));
      const remaining = index === REQ ? Math.floor(level) : Math.round(level / step) * step;
      const resetInS = Math.ceil((this.#capacity(index) - this.#level(index)) / this.#rate(index));
      readings[limiter] = { limit: this.#limit(index), remaining, resetInS };
    }
    return readings;
  }

  /** Sums since the start: what was taken net, what could have been refilled, and what is in now. */
  totals(): { gateway: number[]; foreign: number[]; refilled: number[]; levels: number[] } {
    const { gateway, foreign } = this.#taken;
    return {
      gateway: [...gateway],
      foreign: [...foreign],
      refilled: [...this.#refilled],
      levels: [...this.#levels],
    };
  }

  #advance(nowS: number): void {
    const elapsedS = nowS - this.#nowS;
    if (elapsedS <= 0) return;
    this.#nowS = nowS;
    let drained = 0;
    if (this.#options.accounting === "continuous") {
      for (const open of this.#open) {
        if (open.startedS === null) continue;
        const produced = Math.min(open.load.output, open.load.tokensPerS * (nowS - open.startedS));
        drained += produced - open.charged;
        this.#taken[open.load.foreign ? "foreign" : "gateway"][OUT] =
          this.#takenOutput(open.load.foreign) + produced - open.charged;
        open.charged = produced;
      }
    }
    for (const index of [REQ, IN, OUT]) {
      const refill = this.#rate(index) * elapsedS;
      this.#refilled[index] = (this.#refilled[index] ?? 0) + refill;
      const level = this.#level(index) + refill - (index === OUT ? drained : 0);
      this.#levels[index] = Math.min(this.#capacity(index), level);
    }
    this.#fast *= Math.exp(-elapsedS / 20);
    this.#slow *= Math.exp(-elapsedS / 120);
  }

  #acceleratesTooFast(weight: number): boolean {
    if (!this.#options.acceleration) return false;
    const floor = 0.4 * (this.#rate(IN) + 5 * this.#rate(OUT));
    if ((this.#fast + weight) / 20 > Math.max(floor, (2.5 * this.#slow) / 120)) return true;
    this.#fast += weight;
    this.#slow += weight;
    return false;
  }

  #take(index: number, amount: number, foreign: boolean): void {
    const taken = this.#taken[foreign ? "foreign" : "gateway"];
    taken[index] = (taken[index] ?? 0) + amount;
    this.#levels[index] = Math.min(this.#capacity(index), this.#level(index) - amount);
  }

  #takenOutput(foreign: boolean): number {
    return this.#taken[foreign ? "foreign" : "gateway"][OUT] ?? 0;
  }

  #limit(index: number): number {
    return this.#limits[index] ?? 0;
  }

  #rate(index: number): number {
    return this.#limit(index) / 60;
  }

  #capacity(index: number): number {
    return (this.#limit(index) * this.#options.burstS) / 60;
  }

  #level(index: number): number {
    return this.#levels[index] ?? 0;
  }
}
