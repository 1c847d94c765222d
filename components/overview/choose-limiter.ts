import { LIMITERS, type Limiter } from "#lib/anthropic/pools.ts";
import type { LimiterState, PoolState } from "#lib/limits/schema.ts";

/** One gauge of the matrix; in the URL `default/opus-5.5/standard:input_tokens`. */
export type LimiterRef = { pool: string; limiter: Limiter };

export type Chosen = { pool: PoolState; limiter: LimiterState };

/** By this much of a limit another one must be tighter before it takes the place of the one shown: no flicker. */
const HOLD = 0.03;

export function parseLimiterRef(text: string): LimiterRef | null {
  const cut = text.lastIndexOf(":");
  const limiter = LIMITERS.find((name) => name === text.slice(cut + 1));
  return cut > 0 && limiter ? { pool: text.slice(0, cut), limiter } : null;
}

export function formatLimiterRef(ref: LimiterRef): string {
  return `${ref.pool}:${ref.limiter}`;
}

export function isSameLimiter(a: LimiterRef | null, b: LimiterRef | null): boolean {
  return a?.pool === b?.pool && a?.limiter === b?.limiter;
}

export function findLimiter(pools: readonly PoolState[], ref: LimiterRef | null): Chosen | null {
  const pool = pools.find((entry) => entry.key === ref?.pool);
  const limiter = pool?.limiters.find((entry) => entry.limiter === ref?.limiter);
  return pool && limiter ? { pool, limiter } : null;
}

/**
 * The limiter with the least headroom. Pools in use come before stale and idle ones, those before pools never called.
 * Of equals the first; `held`, the one shown before, stays until another is clearly tighter.
 */
export function findTightest(pools: readonly PoolState[], held: LimiterRef | null): Chosen | null {
  const rank = { live: 2, stale: 1, idle: 1, unseen: 0 } as const;
  let best: Chosen | null = null;
  for (const pool of pools) {
    for (const limiter of pool.limiters) {
      if (limiter.limit <= 0) continue;
      const lead = best ? rank[pool.state] - rank[best.pool.state] : 1;
      if (lead > 0 || (lead === 0 && best && limiter.utilisation > best.limiter.utilisation)) best = { pool, limiter };
    }
  }
  const kept = findLimiter(pools, held);
  if (!best || !kept || kept.limiter.limit <= 0 || rank[kept.pool.state] < rank[best.pool.state]) return best;
  return best.limiter.utilisation - kept.limiter.utilisation > HOLD ? best : kept;
}
