import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { priceUsage } from "../../lib/anthropic/prices.ts";
import { NO_USAGE } from "../../lib/anthropic/usage.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { priceLateCalls } from "../../lib/usage/repricing.ts";
import { type CallRecord, CallsPage, UsageTotals } from "../../lib/usage/schema.ts";
import { callRecord } from "../support/call-record.ts";
import { openTestDatabase } from "../support/database.ts";

const AGENT = "0193a000-0000-7000-8000-000000000001";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
/** All of it lies within one hour and one day, far from their edges. */
const START = Math.floor(Date.now() / HOUR) * HOUR - 2 * 24 * HOUR + 5 * MINUTE;

let stored: Awaited<ReturnType<typeof openTestDatabase>>;
beforeEach(async () => {
  stored = await openTestDatabase();
});
afterEach(() => stored.close());

/** A call from before its model had a price. */
function unknown(minute: number, change: Partial<CallRecord> = {}): CallRecord {
  return callRecord({
    startedAt: at(minute),
    ...{ model: "claude-haiku-4-5-20251001", pool: "haiku-4.5", agentKeyId: AGENT, costNanoUsd: null },
    ...{ inputTokens: 1_000, outputTokens: 50 },
    ...change,
  });
}

const at = (minute: number) => new Date(START + minute * MINUTE).toISOString();
const record = (rows: CallRecord[]) => stored.database.call("calls_record", { rows }, z.unknown());
const run = () => priceLateCalls({ database: stored.database, log: silentLog });
const costs = async () => {
  const { calls } = await stored.database.call("calls_list", { filter: { limit: 1_000 } }, CallsPage);
  return new Map(calls.map((call) => [call.id, call.costNanoUsd]));
};
/** From the minutes, from the hours, and what the agent has spent. */
const sums = async () => {
  const query = (from: string, to: string) =>
    stored.database.call("usage_totals", { query: { from, to } }, UsageTotals);
  const [byHour] = await stored.sql(
    "select sum(cost_nano_usd)::text as cost, sum(unpriced_calls)::text as unpriced from gateway.usage_1h",
  );
  const { total } = await query(at(-1), at(30));
  const { spend } = await stored.database.call(
    "agents_spend",
    { since: at(-48 * 60) },
    z.object({ spend: z.array(z.object({ costNanoUsd: z.int(), unpricedCalls: z.int() })) }),
  );
  return {
    minutes: [total.costNanoUsd, total.unpricedCalls],
    hours: [Number(byHour?.cost), Number(byHour?.unpriced)],
    spend: spend.map(({ costNanoUsd, unpricedCalls }) => [costNanoUsd, unpricedCalls]),
  };
};

test("calls of a model that has a price by now are priced at their own day, in every sum, once", async () => {
  const calls = [
    unknown(0),
    unknown(1, { cacheWriteTokens: 30, cacheWrite5mTokens: 10, cacheWrite1hTokens: 20, cacheReadTokens: 400 }),
    unknown(2, { serviceTier: "batch", webSearchRequests: 3 }),
    unknown(3, { model: "claude-sonnet-5-5", pool: "claude-sonnet-5-5", inferenceGeo: "us", agentKeyId: null }),
    unknown(4, { model: "claude-opus-5-5", pool: "opus-5.5", speed: "fast" }),
  ];
  await record(calls);
  expect(await sums()).toEqual({ minutes: [0, 5], hours: [0, 5], spend: [[0, 4]] });
  expect(await run()).toEqual({ priced: 5 });

  const expected = calls.map((call) => [
    call.id,
    priceUsage({
      model: call.model,
      usage: { ...NO_USAGE, ...call, iterations: null },
      atMs: Date.parse(call.startedAt),
    }),
  ]);
  expect([...(await costs())].sort()).toEqual(expected.sort());
  const total = expected.reduce((sum, [, cost]) => sum + Number(cost), 0);
  const keyless = (await costs()).get(calls[3]?.id ?? "") ?? 0;
  const after = { minutes: [total, 0], hours: [total, 0], spend: [[total - keyless, 0]] };
  expect(await sums()).toEqual(after);
  expect(await run()).toEqual({ priced: 0 });
  // A replay of the same rows changes nothing either.
  await record(calls);
  expect(await sums()).toEqual(after);
});

test("what a row alone does not tell the price of stays unpriced", async () => {
  const left = [
    // Nobody ever told its usage.
    unknown(0, { inputTokens: 0, outputTokens: 12 }),
    unknown(1, { model: "claude-nova-9", pool: "claude-nova-9" }),
    // Another model was asked than answered: others may have had a part in it.
    unknown(2, { pool: "opus-5.5" }),
    // One long prompt, or many short ones.
    unknown(3, { model: "claude-haiku-5-5", pool: "haiku-5.5", inputTokens: 100_001 }),
    unknown(4, { stopReason: "refusal" }),
    // There is no fast mode of it.
    unknown(5, { speed: "fast" }),
  ];
  await record(left);
  expect(await run()).toEqual({ priced: 0 });
  expect(new Set((await costs()).values())).toEqual(new Set([null]));
});

test("a call without a cost from when its model had a price keeps its reason", async () => {
  const [early, priced, late] = [unknown(0), unknown(5, { costNanoUsd: 1_250_000 }), unknown(10)];
  await record([early, priced, late]);
  expect(await run()).toEqual({ priced: 1 });
  const after = await costs();
  expect([early, priced, late].map(({ id }) => after.get(id))).toEqual([1_250_000, 1_250_000, null]);
});

test("more calls than a page, many of one moment, are all priced, and a run that broke off is taken up", async () => {
  const calls = Array.from({ length: 2_500 }, (_, index) =>
    unknown(Math.floor(index / 900), { agent: `a-${index % 3}` }),
  );
  await record(calls);
  let pages = 0;
  const { database } = stored;
  const broken: typeof database = {
    call: (name, args, answer) => {
      if (name === "calls_price" && ++pages === 2) return Promise.reject(new Error("away"));
      return database.call(name, args, answer);
    },
  };
  expect(await priceLateCalls({ database: broken, log: silentLog })).toEqual({ priced: 1_000 });
  expect(await run()).toEqual({ priced: 1_500 });
  const total = 2_500 * 1_250_000;
  expect(await sums()).toEqual({ minutes: [total, 0], hours: [total, 0], spend: [[total, 0]] });
});
