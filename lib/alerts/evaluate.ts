import type { LimiterState, LimitSource, PoolState } from "../limits/schema.ts";
import type { Rule, Severity } from "./schema.ts";

/**
 * Is it bad now? One rule at one limiter, judged once:
 *
 * - above: at or above the threshold;
 * - between: under the threshold, not yet under the recovery line;
 * - below: under the recovery line;
 * - blind: calls flow but the limit's headers are missing, so that a low figure means nothing. A high one still counts:
 *   our own use is a floor under the true use.
 */
export type Reading = "above" | "between" | "below" | "blind";

export type Sample = {
  /** One per rule and limiter: the identity of an incident. */
  key: string;
  rule: Rule;
  pool: PoolState;
  limiter: LimiterState;
  reading: Reading;
  severity: Severity;
};

/** A bucket refills within a minute, so a pool without calls for that long is known to be full, headers or not. */
const REFILL_MS = 60_000;

/** Every enabled rule at every limiter that it watches. Pure. A limiter without a usable limit has no sample. */
export function evaluate(rules: readonly Rule[], pools: readonly PoolState[], nowMs: number): Sample[] {
  return rules
    .filter((rule) => rule.enabled)
    .flatMap((rule) => pools.flatMap((pool) => pool.limiters.flatMap((limiter) => sample(rule, pool, limiter, nowMs))));
}

/** The identity of an incident: rule, pool and limiter. */
export function sampleKey(ruleId: string, poolKey: string, limiter: string): string {
  return `${ruleId} ${poolKey} ${limiter}`;
}

/** Whether a rule watches a limiter. */
export function watches(rule: Rule, pool: Pick<PoolState, "upstream" | "pool" | "lane">, limiter: string): boolean {
  const { scope } = rule;
  return (
    (scope.upstream === undefined || scope.upstream === pool.upstream) &&
    (scope.pool === undefined || scope.pool === pool.pool) &&
    (scope.lane === undefined || scope.lane === pool.lane) &&
    (scope.limiter === undefined || scope.limiter === limiter)
  );
}

function sample(rule: Rule, pool: PoolState, limiter: LimiterState, nowMs: number): Sample[] {
  if (!watches(rule, pool, limiter.limiter)) return [];
  if (limiter.limit <= 0 || !Number.isFinite(limiter.utilisation)) return [];
  return [
    {
      key: sampleKey(rule.id, pool.key, limiter.limiter),
      rule,
      pool,
      limiter,
      reading: read(rule, pool, limiter, nowMs),
      severity: severityOf(rule.severity, limiter.source),
    },
  ];
}

function read(rule: Rule, pool: PoolState, limiter: LimiterState, nowMs: number): Reading {
  if (limiter.utilisation >= rule.threshold) return "above";
  if (isBlind(pool, nowMs)) return "blind";
  return limiter.utilisation < rule.recoveryThreshold ? "below" : "between";
}

function isBlind(pool: PoolState, nowMs: number): boolean {
  if (pool.state !== "stale") return false;
  const lastCallMs = pool.lastCallAt === null ? Number.NEGATIVE_INFINITY : Date.parse(pool.lastCallAt);
  return pool.openCalls > 0 || nowMs - lastCallMs < REFILL_MS;
}

/** A limit from the published table is a guess about this organisation: it may warn, never more. */
function severityOf(wanted: Severity, source: LimitSource): Severity {
  return source === "published" ? "warning" : wanted;
}
