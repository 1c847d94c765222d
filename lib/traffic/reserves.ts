import { BurstCurve } from "./burst-curve.ts";
import { CLASS_INDEXES, type ClassIndex } from "./classes.ts";
import { type Dimension, IN, OUT, REQ } from "./dimensions.ts";
import type { Ledger } from "./ledger.ts";
import { at, clamp } from "./numbers.ts";

const BASE: Record<Dimension, readonly [number, number, number, number]> = {
  0: [0.02, 0.06, 0.08, 0.1],
  1: [0.04, 0.06, 0.08, 0.1],
  2: [0.02, 0.102, 0.144, 0.18],
  3: [0.02, 0.06, 0.08, 0.1],
};
const STANDING: readonly [number, number, number, number] = [0, 0.35, 0.45, 0.5];
const MEMORY_S = 600;
const MOST = 0.5;
const LEARNT = [IN, OUT] as const;

/**
 * How deep each class may dig into a ledger. A class leaves what the classes above it have lately needed at once, so
 * that they never wait. Reserves cost no throughput: only a full bucket loses refill.
 */
export class Reserves {
  readonly burst: BurstCurve;
  readonly #ledger: Ledger;
  /** By class and dimension: how far a bucket refilled at full rate would be down, and the peak of that. */
  readonly #depth = new Float64Array(8);
  readonly #peak = new Float64Array(8);
  #nowS: number;

  constructor(ledger: Ledger, nowS: number) {
    this.#ledger = ledger;
    this.#nowS = nowS;
    this.burst = new BurstCurve(nowS);
  }

  /** A call has arrived (not come back) that will probably cost so much. */
  arrive(from: ClassIndex, input: number, output: number, nowS: number): void {
    const ledger = this.#ledger;
    const elapsedS = Math.max(0, nowS - this.#nowS);
    this.#nowS = Math.max(this.#nowS, nowS);
    const fade = Math.exp(-elapsedS / MEMORY_S);
    for (const dimension of LEARNT) {
      const capacity = ledger.capacity(dimension);
      const refill = Math.max(0.1 * ledger.rate(dimension), ledger.netRate(dimension)) * elapsedS;
      const cost = dimension === IN ? input : output;
      for (const to of CLASS_INDEXES) {
        const index = slot(to, dimension);
        const left = Math.max(0, at(this.#depth, index) - refill);
        const depth = Math.min(capacity, left + (to > from ? cost : 0));
        this.#depth[index] = depth;
        this.#peak[index] = Math.max(at(this.#peak, index) * fade, depth);
      }
    }
    this.burst.arrive(from === 0 ? output : 0, ledger.rate(OUT), ledger.capacity(OUT), nowS);
  }

  /**
   * Something was taken that was not seen to be taken, such as by others who share the limit. It is remembered as if
   * critical calls had asked for it: room is kept for what may be taken so again.
   */
  takenUnseen(dimension: Dimension, amount: number, nowS: number): void {
    if (dimension === IN) this.arrive(0, amount, 0, nowS);
    else if (dimension === OUT) this.arrive(0, 0, amount, nowS);
  }

  /** What was learnt of output was wrong. */
  forgetOutput(): void {
    for (const index of CLASS_INDEXES) {
      this.#depth[slot(index, OUT)] = 0;
      this.#peak[slot(index, OUT)] = 0;
    }
    this.burst.clear();
  }

  /** The share of the capacity that a class leaves. `standing` (0 to 1) tells how long a queue has stood. */
  share(of: ClassIndex, dimension: Dimension, standing: number): number {
    const base = BASE[dimension][of];
    if (of === 0 || dimension === REQ || !this.#ledger.isKnown(dimension)) return base;
    if (dimension !== IN && dimension !== OUT) return base;
    const capacity = this.#ledger.capacity(dimension);
    const most = this.#most(dimension);
    const learnt = at(this.#peak, slot(of, dimension)) / capacity + 0.02;
    const stood = dimension === IN ? standing * STANDING[of] : 0;
    return Math.min(most, Math.max(base, learnt, stood));
  }

  /** Whether the bucket holds so few seconds of limit that reserves are cut below what classes may need. */
  isCramped(dimension: Dimension): boolean {
    return this.#ledger.isKnown(dimension) && this.#most(dimension) < MOST;
  }

  /** The share that a reserve may be: four seconds of refill stay usable by all. */
  #most(dimension: Dimension): number {
    return clamp(1 - (4 * this.#ledger.rate(dimension)) / this.#ledger.capacity(dimension), 0.05, MOST);
  }

  /** How far the bucket would be down, by what the classes above have asked for: for tests and pictures. */
  depth(of: ClassIndex, dimension: typeof IN | typeof OUT): number {
    return at(this.#depth, slot(of, dimension));
  }
}

function slot(of: ClassIndex, dimension: typeof IN | typeof OUT): number {
  return 2 * of + (dimension - IN);
}
