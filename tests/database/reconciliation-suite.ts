import { describe, expect, test } from "vitest";
import { z } from "zod";
import { UsageTotals } from "../../lib/usage/schema.ts";
import { KEY_A, makeCall } from "./calls.ts";
import type { Open } from "./suite.ts";

const DAY = 86_400_000;
const Days = z.object({
  days: z.array(z.object({ day: z.string(), readAt: z.string(), models: z.array(z.unknown()) })),
});
const Calls = z.object({ calls: z.array(z.object({ id: z.string(), startedAt: z.string() })) });

export function reconciliationSuite(open: Open): void {
  const call = <Schema extends z.ZodType>(name: string, args: Record<string, unknown>, answer: Schema) =>
    open().database.call(name, args, answer);

  describe("reported days", () => {
    const day = (index: number) => new Date(Date.UTC(2026, 9, 1) + index * DAY).toISOString();
    const record = (days: object[]) => call("reconciliation_record", { days }, z.object({ recorded: z.int() }));
    const list = (from: string, to: string) => call("reconciliation_list", { query: { from, to } }, Days);

    test("are read as they were written, and only a newer reading takes their place", async () => {
      const models = [
        { model: "claude-opus-5-5", inputTokens: 9_007_199_254_740_991 },
        { model: null, costNanoUsd: 1 },
      ];
      const written = [
        { day: day(0), readAt: day(5), models },
        { day: day(1), readAt: day(5), models: [] },
      ];
      expect(await record(written)).toEqual({ recorded: 2 });
      expect(await list(day(0), day(2))).toEqual({ days: written });
      expect(await list(day(1), day(2))).toEqual({ days: written.slice(1) });
      expect(await record([{ day: day(0), readAt: day(4), models: [] }])).toEqual({ recorded: 0 });
      const newer = { day: day(0), readAt: day(6), models: [] };
      expect(await record([newer])).toEqual({ recorded: 1 });
      expect(await list(day(0), day(1))).toEqual({ days: [newer] });
      expect(await list(day(7), day(9))).toEqual({ days: [] });
    });

    test("are whole UTC days", async () => {
      const noon = new Date(Date.UTC(2026, 9, 1, 12)).toISOString();
      await expect(record([{ day: noon, readAt: day(5), models: [] }])).rejects.toMatchObject({
        code: "invalid_input",
      });
    });
  });

  describe("pricing", () => {
    const model = "claude-late-1-20261101";
    // Two days ago, away from every edge.
    const startMs = Math.floor(Date.now() / DAY) * DAY - 2 * DAY + 1_800_000;
    const at = (second: number) => new Date(startMs + second * 1000).toISOString();
    const late = (second: number) =>
      makeCall({ ...{ startedAt: at(second), model, agent: "late", agentKeyId: KEY_A, costNanoUsd: null } });
    const find = (filter: object) =>
      call("calls_unpriced", { filter: { models: ["claude-late-1"], ...filter } }, Calls);
    const price = (prices: object[]) => call("calls_price", { prices }, z.object({ priced: z.int() }));
    const sums = async () => {
      const query = { from: at(-600), to: at(600), agent: "late" };
      const { total } = await call("usage_totals", { query }, UsageTotals);
      const [spend] = await open().sql(
        "select cost_nano_usd::text as cost, unpriced_calls::text as unpriced from gateway.agent_spend where agent_id = $1::uuid and day = $2::timestamptz",
        [KEY_A, new Date(Math.floor(startMs / DAY) * DAY).toISOString()],
      );
      return { total: [total.costNanoUsd, total.unpricedCalls], spend: [Number(spend?.cost), Number(spend?.unpriced)] };
    };

    test("finds calls without a cost newest first, page by page, and changes every sum with them, once", async () => {
      const before = await sums();
      const [base = 0, baseUnpriced = 0] = before.spend.map((value) => (Number.isNaN(value) ? 0 : value));
      const calls = [late(0), late(1), late(70)];
      await call("calls_record", { rows: calls }, z.unknown());
      const ids = calls.map(({ id }) => id).reverse();
      const first = await find({ limit: 2 });
      expect(first.calls.map(({ id }) => id)).toEqual(ids.slice(0, 2));
      const { id, startedAt } = first.calls[1] ?? { id: "", startedAt: "" };
      expect((await find({ limit: 2, before: { id, startedAt } })).calls.map((found) => found.id)).toEqual(
        ids.slice(2),
      );
      expect(await find({ models: ["claude-other-1"] })).toEqual({ calls: [] });

      const prices = calls.slice(1).map((entry) => ({ id: entry.id, startedAt: entry.startedAt, costNanoUsd: 700 }));
      expect(await price(prices)).toEqual({ priced: 2 });
      expect(await price(prices)).toEqual({ priced: 0 });
      expect(await sums()).toEqual({ total: [1_400, 1], spend: [base + 1_400, baseUnpriced + 1] });
      // Of what is older than the first call with a cost, the rest is still found.
      expect((await find({})).calls.map((found) => found.id)).toEqual([calls[0]?.id]);
      await call("calls_record", { rows: [late(200)] }, z.unknown());
      expect((await find({})).calls.map((found) => found.id)).toEqual([calls[0]?.id]);
    });
  });
}
