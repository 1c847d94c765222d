const MEMORY_S = 600;
const BASE = [
  [0.02, 0.06, 0.08, 0.1],
  [0.04, 0.06, 0.08, 0.1],
  [0.02, 0.102, 0.144, 0.18],
] as const;
const STANDING_SHARE = [0, 0.35, 0.45, 0.5] as const;
const LEAKS = [0.1, 0.25, 0.5, 1] as const;
const IN = 1;
const OUT = 2;

type Buckets = { rate: readonly number[]; capacity: readonly number[] };

/** How deep each class may dig, learnt from the bursts of those above it, and critical's burst curve. */
export class Reserves {
  readonly #depth = CLASSES.map(() => [0, 0, 0]);
  readonly #peak = CLASSES.map(() => [0, 0, 0]);
  readonly #burst = LEAKS.map(() => 0);
  readonly #burstPeak = LEAKS.map(() => 0);
  #nowS = 0;

  arrive(of: number, cost: readonly number[], { rate, capacity }: Buckets, nowS: number): void {
    const elapsedS = Math.max(0, nowS - this.#nowS);
    this.#nowS = nowS;
    const fade = Math.exp(-elapsedS / MEMORY_S);
    for (const one of CLASSES.slice(1)) {
      for (const d of [IN, OUT]) {
        const left = Math.max(0, n(this.#depth[one], d) - n(rate, d) * elapsedS);
        const depth = Math.min(n(capacity, d), left + (one > of ? n(cost, d) : 0));
        set(this.#depth[one], d, depth);
        set(this.#peak[one], d, Math.max(n(this.#peak[one], d) * fade, depth));
      }
    }
    for (const [k, leak] of LEAKS.entries()) {
      const left = Math.max(0, n(this.#burst, k) - leak * n(rate, OUT) * elapsedS);
      this.#burst[k] = Math.min(n(capacity, OUT), left + (of === 0 ? n(cost, OUT) : 0));
      this.#burstPeak[k] = Math.max(n(this.#burstPeak, k) * fade, n(this.#burst, k));
    }
  }

  /** The share of the bucket that a class leaves alone. */
  floor(of: number, d: number, standing: number, { rate, capacity }: Buckets): number {
    const base = n(BASE[d], of);
    if (d === 0) return base;
    const most = Math.min(0.5, Math.max(0.05, 1 - (4 * n(rate, d)) / n(capacity, d)));
    const learnt = of === 0 ? 0 : n(this.#peak[of], d) / n(capacity, d) + 0.02;
    const stands = d === IN ? standing * n(STANDING_SHARE, of) : 0;
    return Math.min(most, Math.max(base, learnt, stands));
  }

  /** Output that critical's worst remembered burst has asked for within so many seconds. */
  burst(horizonS: number, { rate, capacity }: Buckets): number {
    if (horizonS === 0) return 0;
    const asked = LEAKS.map((leak, k) => n(this.#burstPeak, k) + leak * n(rate, OUT) * horizonS);
    return Math.min(0.5 * n(capacity, OUT), 1.4 * Math.min(...asked));
  }
}

export const CLASSES = [0, 1, 2, 3] as const;

/** Zero for what is not there. */
export function n(values: readonly number[] | undefined, index: number): number {
  return values?.[index] ?? 0;
}

function set(values: number[] | undefined, index: number, value: number): void {
  if (values) values[index] = value;
}
