import type { Limiter } from "../anthropic/pools.ts";
import { DIMENSIONS, limiterOf } from "./dimensions.ts";
import type { Ledger } from "./ledger.ts";

/** Limits per minute, by limiter, as far as they are known from elsewhere than answers' headers. */
export type KnownLimits = Partial<Record<Limiter, number>>;

/**
 * How full a bucket begins that no header speaks of: more than the lowest class leaves, so that each may begin, and so
 * little that a limit set too high, or a level that an earlier process has drawn down, costs a quarter of a minute of
 * refusals at most. It is full within the minute if nothing is taken.
 */
const BEGINS_AT = 0.25;

/**
 * Limits that were published, stored or configured, at an upstream that has not told them itself. Until it answers they
 * measure what is fair and say nothing of room; when it has answered and still told nothing, they are in force.
 */
export class UntoldLimits {
  readonly #ledger: Ledger;
  readonly #limits: KnownLimits;
  /** Whether any limit is expected. */
  readonly some: boolean;
  #isInForce = false;

  constructor(ledger: Ledger, limits: KnownLimits) {
    this.#ledger = ledger;
    this.#limits = limits;
    this.some = Object.keys(limits).length > 0;
    for (const dimension of DIMENSIONS) {
      const limit = limits[limiterOf(dimension)];
      if (limit !== undefined && limit > 0) ledger.expect(dimension, limit);
    }
  }

  /** A good answer has come, and what its headers told is in the ledger: the rest is as was expected. */
  answered(): void {
    if (this.#isInForce) return;
    this.#isInForce = true;
    const ledger = this.#ledger;
    for (const dimension of DIMENSIONS) {
      const limit = this.#limits[limiterOf(dimension)];
      if (limit === undefined || limit <= 0 || ledger.isKnown(dimension)) continue;
      ledger.setLimit(dimension, limit, BEGINS_AT * limit);
    }
  }
}
