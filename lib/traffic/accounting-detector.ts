import { OUT } from "./dimensions.ts";
import type { Accounting, Ledger } from "./ledger.ts";

/** The sums over streams at the moment a call was sent. */
export type SendSnapshot = { sentS: number; made: number; open: number; held: number };

const ACCOUNTINGS: readonly Accounting[] = ["continuous", "at-end", "reserve"];
const ENOUGH = 15;
const MAX_GAP_S = 10;
/** Rounding to thousands and the moment of the snapshot explain so much. */
const TOLERANCE = 600;
/** A level near zero or near full is clipped, and tells nothing. */
const MARGIN = 1_500;
/** Smaller sums of squared misses are chance: a wrong way of charging misses by thousands. */
const MATERIAL = 2e5;

/**
 * Finds out how the upstream charges output, by which way of charging foretells best how `remaining` changes from one
 * answer to the next. It is documented as continuous; it was reserved from `max_tokens` once, and elsewhere still is.
 */
export class AccountingDetector {
  readonly #errors = [0, 0, 0];
  #samples = 0;
  #previous: { snapshot: SendSnapshot; remaining: number } | null = null;

  /** Takes what an answer's headers said remained. The accounting that fits clearly better than the ledger's, or null. */
  sample(ledger: Ledger, snapshot: SendSnapshot, remaining: number): Accounting | null {
    const limit = ledger.limit(OUT);
    if (remaining <= MARGIN || remaining > limit - MARGIN) {
      this.#previous = null;
      return null;
    }
    const before = this.#previous;
    if (before && snapshot.sentS < before.snapshot.sentS) return null;
    this.#previous = { snapshot, remaining };
    if (!before || snapshot.sentS - before.snapshot.sentS > MAX_GAP_S) return null;
    const elapsedS = snapshot.sentS - before.snapshot.sentS;
    const base = ledger.rate(OUT) * elapsedS - (snapshot.made - before.snapshot.made);
    const foretold = [
      base,
      base + (snapshot.open - before.snapshot.open),
      base - (snapshot.held - before.snapshot.held),
    ];
    const observed = remaining - before.remaining;
    for (const [index, change] of foretold.entries()) {
      const miss = Math.max(0, Math.abs(observed - change) - TOLERANCE);
      this.#errors[index] = 0.98 * (this.#errors[index] ?? 0) + Math.min(1e8, miss * miss);
    }
    this.#samples += 1;
    return this.#verdict(ledger.accounting);
  }

  #verdict(current: Accounting): Accounting | null {
    if (this.#samples < ENOUGH) return null;
    const best = this.#errors.indexOf(Math.min(...this.#errors));
    const found = ACCOUNTINGS[best];
    const own = this.#errors[ACCOUNTINGS.indexOf(current)] ?? 0;
    if (found === undefined || found === current) return null;
    if (own < MATERIAL || (this.#errors[best] ?? 0) >= 0.4 * own) return null;
    this.#samples = 0;
    return found;
  }
}
