import type { Limiter } from "#lib/anthropic/pools.ts";
import type { AgentUse } from "#lib/overview/schema.ts";
import type { Chosen } from "./choose-limiter.ts";

/** `others`: agents too small to name. `outside`: use that the headers show and that did not pass through Headroom. */
export type UseShare = { kind: "agent" | "others" | "outside"; name: string; used: number; share: number };

/** Headers round tokens to thousands, and calls in flight blur both sides: less than this share says nothing. */
const OUTSIDE_FROM = 0.02;

/** Who used the limiter in the last 60 s, most first; shares are of all use, `outside` included. */
export function limiterShares(chosen: Chosen, agents: readonly AgentUse[], named = 5): UseShare[] {
  const { pool, limiter } = chosen;
  const uses = agents
    .map((agent) => ({ name: agent.agent, used: usedBy(agent, pool.key, limiter.limiter) }))
    .filter((use) => use.used > 0)
    .sort((a, b) => b.used - a.used || a.name.localeCompare(b.name));
  const inside = uses.reduce((sum, use) => sum + use.used, 0);
  const outside = outsideUse(chosen, inside);
  const total = Math.max(1e-9, inside + outside);
  const share = (used: number) => used / total;
  const first = uses.length <= named + 1 ? uses : uses.slice(0, named);
  const rest = uses.slice(first.length);
  const shares: UseShare[] = first.map((use) => ({ kind: "agent", ...use, share: share(use.used) }));
  if (rest.length > 0) {
    const used = rest.reduce((sum, use) => sum + use.used, 0);
    shares.push({ kind: "others", name: `${rest.length} others`, used, share: share(used) });
  }
  if (outside > 0) shares.push({ kind: "outside", name: "outside Headroom", used: outside, share: share(outside) });
  return shares;
}

/** The share of the limit that would be left in use without the agent. */
export function utilisationWithout(chosen: Chosen, use: UseShare): number {
  const { limit, used } = chosen.limiter;
  return limit > 0 ? Math.max(0, used - use.used) / limit : 0;
}

export function usedBy(agent: AgentUse, poolKey: string, limiter: Limiter): number {
  const use = agent.pools[poolKey];
  if (!use) return 0;
  return limiter === "tokens" ? use.input_tokens + use.output_tokens : use[limiter];
}

function outsideUse({ limiter }: Chosen, inside: number): number {
  if (limiter.remaining === null) return 0;
  const outside = limiter.limit - limiter.remaining - Math.max(inside, limiter.usedLastMinute);
  return outside > limiter.limit * OUTSIDE_FROM ? outside : 0;
}
