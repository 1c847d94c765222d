import { describe, expect, it } from "vitest";
import { findLimiter, findTightest, formatLimiterRef, parseLimiterRef } from "#components/overview/choose-limiter.ts";
import { limiterShares, utilisationWithout } from "#components/overview/limiter-shares.ts";
import { clientSnippets } from "#components/overview/snippets.ts";
import { countNew } from "#components/overview/use-held-rows.ts";
import { poolOf } from "#lib/anthropic/pools.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import { OverviewSource } from "../support/overview-data.ts";

const INPUT = { pool: "default/opus-5.5/standard", limiter: "input_tokens" } as const;

describe("the limit shown", () => {
  const { pools } = new OverviewSource("busy").first();

  it("is the tightest in use", () => {
    const found = findTightest(pools, null);
    expect([found?.pool.key, found?.limiter.limiter]).toEqual([INPUT.pool, INPUT.limiter]);
  });

  it("stays until another is clearly tighter", () => {
    const held = { pool: "default/sonnet-5.5/standard", limiter: "requests" } as const;
    expect(findTightest(withUtilisation(pools, held, 0.89), held)?.pool.key).toBe(held.pool);
    expect(findTightest(withUtilisation(pools, held, 0.5), held)?.pool.key).toBe(INPUT.pool);
  });

  it("is never one of an old reading while another is live", () => {
    const stale = pools.map((pool) => (pool.key === INPUT.pool ? { ...pool, state: "stale" as const } : pool));
    expect(findTightest(stale, INPUT)?.pool.state).toBe("live");
  });

  it("is none when no pool is known", () => expect(findTightest([], INPUT)).toBeNull());

  it("survives the URL, and a broken URL is ignored", () => {
    expect(parseLimiterRef(formatLimiterRef(INPUT))).toEqual(INPUT);
    for (const text of ["", ":", "x", "default/opus-5.5/standard:nonsense", ":requests"])
      expect(parseLimiterRef(text)).toBeNull();
  });
});

describe("who uses a limit", () => {
  const overview = new OverviewSource("busy").first();
  const chosen = findLimiter(overview.pools, INPUT);
  if (!chosen) throw new Error("the generator has no Opus pool");

  it("adds up to one, what went past Headroom included", () => {
    const shares = limiterShares(chosen, overview.agents);
    expect(shares.reduce((sum, use) => sum + use.share, 0)).toBeCloseTo(1, 6);
    expect(shares.map((use) => use.kind)).toEqual(["agent", "agent", "agent", "agent", "agent", "others", "outside"]);
    expect(shares[0]?.name).toBe("nightly-labeller");
  });

  it("says what the limit would be at without one of them", () => {
    const [top] = limiterShares(chosen, overview.agents);
    if (!top) throw new Error("nobody uses it");
    expect(utilisationWithout(chosen, top)).toBeCloseTo((chosen.limiter.used - top.used) / chosen.limiter.limit, 6);
  });

  it("names nobody outside from a difference that rounding explains", () => {
    const { limit, usedLastMinute } = chosen.limiter;
    const near = { ...chosen, limiter: { ...chosen.limiter, remaining: limit - usedLastMinute - limit * 0.01 } };
    expect(limiterShares(near, overview.agents).some((use) => use.kind === "outside")).toBe(false);
    const unknown = { ...chosen, limiter: { ...chosen.limiter, remaining: null } };
    expect(limiterShares(unknown, overview.agents).some((use) => use.kind === "outside")).toBe(false);
  });
});

describe("snippets", () => {
  const snippets = clientSnippets("http://127.0.0.1:3000");

  it("all point at the gateway, and none doubles the path that its client adds", () => {
    for (const { id, code } of snippets) {
      expect(code).toContain("http://127.0.0.1:3000");
      if (id !== "curl") expect(code).not.toContain("3000/v1");
    }
  });

  it("call a model that exists", () => {
    const models = snippets.flatMap(({ code }) => code.match(/claude-[a-z]+-[\d-]+\d/g) ?? []);
    expect(models.length).toBeGreaterThan(2);
    for (const model of models) expect(poolOf(model).id).not.toBe(model);
  });

  it("send valid JSON with curl", () => {
    const body = snippets.find(({ id }) => id === "curl")?.code.match(/-d '(.*)'/)?.[1];
    expect(JSON.parse(body ?? "")).toMatchObject({ max_tokens: 64, messages: [{ role: "user" }] });
  });
});

describe("rows held under the pointer", () => {
  const rows = (...ids: string[]) => ids.map((id) => ({ id }));

  it("count what came above them", () => {
    expect(countNew(rows("c", "b", "a"), rows("b", "a"))).toBe(1);
    expect(countNew(rows("b", "a"), rows("b", "a"))).toBe(0);
    expect(countNew(rows("z", "y"), rows("b", "a"))).toBe(2);
  });
});

function withUtilisation(pools: PoolState[], ref: { pool: string; limiter: string }, utilisation: number): PoolState[] {
  return pools.map((pool) => ({
    ...pool,
    limiters: pool.limiters.map((limiter) =>
      pool.key === ref.pool && limiter.limiter === ref.limiter ? { ...limiter, utilisation } : limiter,
    ),
  }));
}
