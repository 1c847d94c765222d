import type { Limiter } from "../anthropic/pools.ts";
import { DIMENSIONS, type Dimension, IN, limiterOf, OUT, REQ } from "./dimensions.ts";
import type { Ledger } from "./ledger.ts";

/** Limits per minute, by limiter, as far as they are known from elsewhere than answers' headers. */
export type KnownLimits = Partial<Record<Limiter, number>>;

/**
 * How full a bucket begins that no header speaks of: more than the lowest class leaves, so that each may begin, and so
 * little that a limit set too high, or a level that an earlier process has drawn down, costs a quarter of a minute of
 * refusals at most. It is full within the minute if nothing is taken.
 */
const BEGINS_AT = 0.25;
const CUT = 0.7;
/** Refusals of one moment are one sign. */
const CUT_GAP_S = 2;
const GROWTH = 1.02;
const STEP_S = 5;
/** The share of what is expected that is tried at least. */
const LEAST_SHARE = 0.01;
/** Where nothing is expected, a refusal means what was let in of late, as far as that says anything. */
const LEAST_OBSERVED: readonly [number, number, number] = [100, 45_000, 9_000];
const OBSERVED_S = 60;

/**
 * Limits that were published, stored or configured, at an upstream that has not told them itself. Until it answers they
 * measure what is fair and say nothing of room; when it has answered and still told nothing, they are in force. From then
 * on refusals alone tell whether they are right: each takes the bucket for empty and cuts all limits by a third, and they
 * grow again as long as they hold calls back. It is the limits that shrink and not only the rate of sending, or each rest
 * would fill a bucket that is ten times too deep, and all of it be refused.
 */
export class UntoldLimits {
  readonly #ledger: Ledger;
  readonly #taken = new Float64Array(3);
  #takenS = 0;
  #limits: KnownLimits;
  #isInForce = false;
  #share = 1;
  #cutS = Number.NEGATIVE_INFINITY;
  #steppedS = Number.NEGATIVE_INFINITY;
  /** Whether any limit was expected: then it is never taken for more than that. */
  readonly some: boolean;

  constructor(ledger: Ledger, limits: KnownLimits) {
    this.#ledger = ledger;
    this.#limits = limits;
    this.some = Object.keys(limits).length > 0;
    for (const dimension of DIMENSIONS) ledger.expect(dimension, this.#limit(dimension));
  }

  /** A good answer has come, and what its headers told is in the ledger: what else was expected is in force. */
  answered(): void {
    if (this.#isInForce) return;
    this.#isInForce = true;
    for (const dimension of DIMENSIONS) {
      const limit = this.#limit(dimension);
      if (limit > 0 && !this.#ledger.isKnown(dimension)) this.#ledger.setLimit(dimension, limit, BEGINS_AT * limit);
    }
  }

  /** An upstream that has never told a limit has let a call in. */
  letIn(call: { input: number; output: number }, nowS: number): void {
    if (!this.some) this.#note(call, nowS);
    if (nowS - this.#steppedS < STEP_S || (this.some && this.#share >= 1) || !this.#isScarce()) return;
    this.#share *= GROWTH;
    this.#steppedS = nowS;
    for (const dimension of DIMENSIONS) this.#apply(dimension, this.#ledger.level(dimension));
  }

  /** Such an upstream has refused a call for a limit. */
  refused(nowS: number): void {
    if (!this.some && !this.#ledger.known) this.#limits = this.#observed(nowS);
    this.#isInForce = true;
    if (nowS - this.#cutS >= CUT_GAP_S) {
      this.#share = Math.max(LEAST_SHARE, CUT * this.#share);
      this.#cutS = nowS;
      this.#steppedS = nowS;
    }
    for (const dimension of DIMENSIONS) this.#apply(dimension, Math.min(0, this.#ledger.level(dimension)));
  }

  #apply(dimension: Dimension, level: number): void {
    const limit = this.#limit(dimension);
    if (limit > 0) this.#ledger.setLimit(dimension, Math.max(1, this.#share * limit), level);
  }

  #limit(dimension: Dimension): number {
    return this.#limits[limiterOf(dimension)] ?? 0;
  }

  /** Whether the limits are felt: what holds nobody back has no need to grow. */
  #isScarce(): boolean {
    const ledger = this.#ledger;
    return ledger.knownDimensions.some((dimension) => ledger.level(dimension) < ledger.capacity(dimension) / 2);
  }

  #note({ input, output }: { input: number; output: number }, nowS: number): void {
    const fade = Math.exp((this.#takenS - nowS) / OBSERVED_S);
    for (const [dimension, amount] of [1, input, output].entries())
      this.#taken[dimension] = fade * (this.#taken[dimension] ?? 0) + amount;
    this.#takenS = nowS;
  }

  #observed(nowS: number): KnownLimits {
    this.#note({ input: 0, output: 0 }, nowS);
    const of = (dimension: typeof REQ | typeof IN | typeof OUT) =>
      Math.max(LEAST_OBSERVED[dimension], this.#taken[dimension] ?? 0);
    return { requests: of(REQ), input_tokens: of(IN), output_tokens: of(OUT) };
  }
}
