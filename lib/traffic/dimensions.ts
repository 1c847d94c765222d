import { LIMITERS, type Limiter } from "../anthropic/pools.ts";

/**
 * The limiters as indexes into the ledger's arrays, in the order of `LIMITERS`. `ALL` is the combined token limit, in
 * use only where it is tighter than input and output together.
 */
export const REQ = 0;
export const IN = 1;
export const OUT = 2;
export const ALL = 3;
export const DIMENSIONS = [REQ, IN, OUT, ALL] as const;
export type Dimension = (typeof DIMENSIONS)[number];

export function limiterOf(dimension: Dimension): Limiter {
  return LIMITERS[dimension];
}

export function dimensionOf(limiter: Limiter): Dimension {
  return BY_LIMITER[limiter];
}

const BY_LIMITER: Record<Limiter, Dimension> = { requests: REQ, input_tokens: IN, output_tokens: OUT, tokens: ALL };

/** One limiter as an answer's headers give it; `resetInS` is its reset less the answer's `Date`, never a local clock. */
export type LimitReading = { limit: number; remaining: number; resetInS: number };

/** What an answer's headers said, by limiter. */
export type LimitReadings = Partial<Record<Limiter, LimitReading>>;
