import { expect, test } from "vitest";
import { z } from "zod";
import { LimitChange, LimitRecord } from "../../lib/limits/schema.ts";
import type { Open } from "./suite.ts";

const Changes = z.object({ changes: z.array(LimitChange) });

export function limitsSuite(open: Open): void {
  const make = (given: Partial<LimitRecord>): LimitRecord => ({
    upstream: "main",
    pool: "sonnet-5",
    lane: "standard",
    limiter: "requests",
    limit: 1000,
    remaining: 900,
    resetAt: "2026-11-23T08:01:00.000Z",
    source: "header",
    observedAt: "2026-11-23T08:00:00.000Z",
    ...given,
  });
  const record = (...rows: LimitRecord[]) => open().database.call("limits_record", { rows }, Changes);
  const list = async (pool: string) => {
    const { limits } = await open().database.call("limits_list", {}, z.object({ limits: z.array(LimitRecord) }));
    return limits.filter((limit) => limit.pool === pool);
  };

  test("what was observed last is kept, whatever the order of telling", async () => {
    const newer = make({ pool: "order", remaining: 10, observedAt: "2026-11-23T08:00:02.000Z" });
    await record(newer);
    await record(make({ pool: "order", remaining: 500, observedAt: "2026-11-23T08:00:01.000Z" }));
    expect(await list("order")).toEqual([newer]);
  });

  test("a change of a limit is told once and remembered, a change of what remains is not one", async () => {
    expect(await record(make({ pool: "change" }))).toEqual({ changes: [] });
    expect(await record(make({ pool: "change", remaining: 1, observedAt: "2026-11-23T08:00:01.000Z" }))).toEqual({
      changes: [],
    });
    const raised = make({ pool: "change", limit: 5000, observedAt: "2026-11-23T08:00:02.000Z" });
    const change = {
      upstream: "main",
      pool: "change",
      lane: "standard",
      limiter: "requests",
      before: 1000,
      after: 5000,
      source: "header",
      at: "2026-11-23T08:00:02.000Z",
    };
    expect(await record(raised)).toEqual({ changes: [change] });
    expect(await record(raised)).toEqual({ changes: [] });
    const { changes } = await open().database.call("limits_changes", { since: "2026-11-23T08:00:02.000Z" }, Changes);
    expect(changes.filter(({ pool }) => pool === "change")).toEqual([change]);
  });

  test("several changes in one batch are told in the order they were observed", async () => {
    const at = (second: number, limit: number) =>
      make({ pool: "batch", limit, observedAt: `2026-11-23T08:00:0${second}.000Z` });
    const { changes } = await record(at(3, 100), at(1, 100), at(2, 200));
    expect(changes.map(({ before, after }) => [before, after])).toEqual([
      [100, 200],
      [200, 100],
    ]);
  });

  test("a limit without a header has neither remaining nor reset", async () => {
    const published = make({ pool: "seed", remaining: null, resetAt: null, source: "published" });
    await record(published);
    expect(await list("seed")).toEqual([published]);
  });
}
