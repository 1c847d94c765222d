import type { Rule } from "../../lib/alerts/schema.ts";
import type { LimiterState, PoolState } from "../../lib/limits/schema.ts";

/** A pool whose input limiter is used to the share given. */
export function poolAt(
  utilisation: number,
  patch: Partial<PoolState> & { limiterPatch?: Partial<LimiterState> } = {},
): PoolState {
  const { limiterPatch, ...rest } = patch;
  const limit = limiterPatch?.limit ?? 2_000_000;
  const used = utilisation * limit;
  return {
    key: "acme-prod/opus-5/standard",
    upstream: "acme-prod",
    pool: "opus-5",
    name: "Opus 5",
    family: "opus",
    lane: "standard",
    state: "live",
    openCalls: 0,
    lastCallAt: "2026-11-23T08:00:00.000Z",
    limiters: [
      {
        limiter: "input_tokens",
        limit,
        remaining: limit - used,
        usedLastMinute: used,
        used,
        utilisation,
        source: "header",
        observedAt: "2026-11-23T08:00:00.000Z",
        resetAt: null,
        secondsToLimit: null,
        secondsToFull: 60 * utilisation,
        ...limiterPatch,
      },
    ],
    ...rest,
  };
}

export function ruleOf(patch: Partial<Rule> = {}): Rule {
  return {
    id: "0b8f6a2e-6d0a-4f43-9d7e-5f3c0f6f0a01",
    name: "Limit at 80 %",
    kind: "utilisation",
    enabled: true,
    scope: {},
    severity: "warning",
    threshold: 0.8,
    pendingSeconds: 10,
    recoveryThreshold: 0.7,
    recoverySeconds: 120,
    channelIds: null,
    createdAt: "2026-11-23T07:00:00.000Z",
    updatedAt: "2026-11-23T07:00:00.000Z",
    ...patch,
  };
}

/** Numbers from 0 up to 1 that are the same on every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
