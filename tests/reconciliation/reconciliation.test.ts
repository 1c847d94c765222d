import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import type { Database } from "../../lib/database/database.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { createAdminReports } from "../../lib/reconciliation/admin-reports.ts";
import { Reconciliation } from "../../lib/reconciliation/reconciliation.ts";
import { ReconciliationAnswer, ReconciliationQuery } from "../../lib/reconciliation/schema.ts";
import { type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";
import { openTestDatabase } from "../support/database.ts";
import { openDoor } from "../support/gateway.ts";

const ADMIN_KEY = "sk-ant-admin01-test";
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const SEARCH = { type: "web_search_20250305", name: "web_search" };
const OPUS = "claude-opus-5-5";
const HAIKU = "claude-haiku-4-5";

type Wishes = Record<string, string | number>;

/** Calls through a gateway and past it to one upstream, from noon some days ago, and the books of both. */
async function world({ daysAgo = 3, ...options }: SimulatorOptions & { daysAgo?: number } = {}) {
  const startMs = Math.floor(Date.now() / DAY) * DAY - daysAgo * DAY;
  const clock = new ManualClock(startMs + 12 * HOUR);
  const simulator = await startSimulator({ clock, ...options });
  const stored = await openTestDatabase();
  const door = await openDoor("node", simulator.url, { clock });
  onTestFinished(async () => {
    await door.close();
    await stored.close();
    await simulator.close();
  });
  const send = async (url: string, model: string, wishes: Wishes) => {
    const answer = await fetch(`${url}/v1/messages`, {
      method: "POST",
      headers: {
        ...{ "content-type": "application/json", "x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01" },
        ...Object.fromEntries(Object.entries(wishes).map(([name, value]) => [`x-simulator-${name}`, String(value)])),
      },
      body: JSON.stringify({
        ...{ model, max_tokens: 500, messages: [{ role: "user", content: "Say hello." }] },
        tools: "web-searches" in wishes ? [SEARCH] : [],
      }),
    });
    expect(answer.status).toBe(200);
    return (await answer.json()).usage;
  };
  let through = 0;
  let recorded = 0;
  return {
    ...{ clock, simulator, startMs, database: stored.database },
    through: (model: string, wishes: Wishes) => {
      through += 1;
      return send(door.url, model, wishes);
    },
    past: (model: string, wishes: Wishes) => send(simulator.url, model, wishes),
    /** What was recorded so far is in the database. */
    async record() {
      const calls = await door.records.atLeast(through);
      const rows = calls.slice(recorded);
      recorded = calls.length;
      await stored.database.call("calls_record", { rows }, z.object({ inserted: z.literal(rows.length) }));
    },
    reconciliation(adminKey: string | null = ADMIN_KEY, database: Database = stored.database, baseUrl = simulator.url) {
      const reports = adminKey === null ? null : createAdminReports({ baseUrl, adminKey });
      return new Reconciliation({ database, reports, clock, log: silentLog });
    },
    async compare(reconciliation: Reconciliation, fromDay = 0, days = 1) {
      const query = ReconciliationQuery.parse({
        from: iso(startMs + fromDay * DAY),
        to: iso(startMs + (fromDay + days) * DAY),
      });
      return ReconciliationAnswer.parse(await reconciliation.compare(query));
    },
    asked: () => simulator.ledger.entries.filter(({ endpoint }) => endpoint.startsWith("/v1/organizations/")).length,
  };
}

const iso = (ms: number) => new Date(ms).toISOString();
const NOTHING = {
  ...{ inputTokens: 0, cacheWrite5mTokens: 0, cacheWrite1hTokens: 0, cacheReadTokens: 0, outputTokens: 0 },
  ...{ webSearchRequests: 0, costNanoUsd: 0 },
};

test("calls made past Headroom are the difference, to the token and the nano-dollar", async () => {
  const { clock, through, past, record, reconciliation, compare, startMs } = await world();
  await through(OPUS, { "input-tokens": 1_000, "cache-read-tokens": 400, "output-tokens": 70 });
  await through(OPUS, { "input-tokens": 2_000, "web-searches": 2 });
  await through(HAIKU, { "input-tokens": 9_000, "cache-write-tokens": 5_000, "output-tokens": 300 });
  await past(OPUS, { "input-tokens": 111, "cache-read-tokens": 11, "output-tokens": 7 });
  const searching = await past(OPUS, { "input-tokens": 50, "web-searches": 1, "output-tokens": 3 });
  await past("claude-sonnet-5-5", { "input-tokens": 5_000, "output-tokens": 40 });
  clock.advance(DAY);
  await through(HAIKU, { "input-tokens": 10, "output-tokens": 1 });
  await record();
  clock.advance(DAY);

  const reconciled = reconciliation();
  await reconciled.round();
  const { reading, days } = await compare(reconciled, 0, 2);
  expect(reading).toEqual({ hasAdminKey: true, fault: null, triedAt: iso(clock.now()) });
  const [first, second] = days;
  expect(first).toMatchObject({ day: iso(startMs), readAt: iso(clock.now()), reason: null });
  const opus = {
    ...NOTHING,
    inputTokens: 100 + searching.input_tokens,
    cacheReadTokens: 11,
    outputTokens: 7 + searching.output_tokens,
    webSearchRequests: 1,
    costNanoUsd: (100 + searching.input_tokens) * 4_000 + 11 * 200 + (7 + searching.output_tokens) * 20_000,
  };
  const sonnet = { ...NOTHING, inputTokens: 5_000, outputTokens: 40, costNanoUsd: 5_000 * 2_000 + 40 * 10_000 };
  expect(first?.models.map(({ model, reason, difference }) => ({ model, reason, difference }))).toEqual([
    { model: HAIKU, reason: null, difference: NOTHING },
    { model: OPUS, reason: null, difference: opus },
    { model: "claude-sonnet-5-5", reason: "outside_headroom", difference: sonnet },
    // A search is charged beside all models.
    { model: null, reason: null, difference: { ...NOTHING, costNanoUsd: 10_000_000 } },
  ]);
  expect(first?.total.difference).toMatchObject({
    inputTokens: opus.inputTokens + sonnet.inputTokens,
    costNanoUsd: opus.costNanoUsd + sonnet.costNanoUsd + 10_000_000,
  });
  expect(first?.total.headroom?.costNanoUsd).toBe(
    (first?.total.anthropic?.costNanoUsd ?? 0) - (first?.total.difference?.costNanoUsd ?? 0),
  );
  expect(second?.models).toMatchObject([{ model: HAIKU, reason: null, difference: NOTHING }]);
});

test("another price than the list's is a difference in cost with equal tokens", async () => {
  const { clock, through, record, reconciliation, compare } = await world({ priceFactor: 1.1 });
  await through(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  await record();
  clock.advance(DAY);
  const reconciled = reconciliation();
  await reconciled.round();
  const [day] = (await compare(reconciled)).days;
  expect(day?.models).toMatchObject([
    {
      model: OPUS,
      headroom: { costNanoUsd: 5_400_000 },
      anthropic: { costNanoUsd: 5_940_000 },
      difference: { ...NOTHING, costNanoUsd: 540_000 },
    },
  ]);
});

test("what the reports do not know is said to be so", async () => {
  const { clock, simulator, through, record, reconciliation, compare } = await world();
  await through(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  await record();
  simulator.ledger.clear();
  clock.advance(DAY);
  const reconciled = reconciliation();
  await reconciled.round();
  expect((await compare(reconciled)).days[0]?.models).toMatchObject([
    { model: OPUS, reason: "not_reported", anthropic: null, difference: { inputTokens: -1_000, outputTokens: -70 } },
  ]);
});

test("without an Admin key nothing is asked, and Headroom's side stands alone", async () => {
  const { clock, through, record, reconciliation, compare, asked } = await world();
  await through(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  await record();
  clock.advance(DAY);
  const reconciled = reconciliation(null);
  await reconciled.round();
  expect(asked()).toBe(0);
  expect(await compare(reconciled)).toMatchObject({
    reading: { hasAdminKey: false, fault: null, triedAt: null },
    days: [
      {
        readAt: null,
        reason: "no_admin_key",
        models: [
          { model: OPUS, reason: "no_admin_key", anthropic: null, headroom: { inputTokens: 1_000 }, difference: null },
        ],
        total: { anthropic: null, difference: null },
      },
    ],
  });
});

test("a day is complete when it has been over for an hour", async () => {
  const { clock, past, reconciliation, compare } = await world();
  await past(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  const reconciled = reconciliation();
  clock.advance(13 * HOUR - 1);
  await reconciled.round();
  expect((await compare(reconciled, -1, 3)).days.map(({ reason }) => reason)).toEqual([
    null,
    "not_complete",
    "not_complete",
  ]);
  clock.advance(1);
  expect((await compare(reconciled)).days).toMatchObject([{ reason: "not_read" }]);
  await reconciled.round();
  expect((await compare(reconciled)).days).toMatchObject([{ reason: null, models: [{ reason: "outside_headroom" }] }]);
});

test("all pages are read: a month of days, seven a page", async () => {
  const { clock, past, reconciliation, compare, asked } = await world({ daysAgo: 28 });
  for (let day = 0; day < 28; day++) {
    await past(HAIKU, { "input-tokens": 100 + day, "output-tokens": 1 });
    clock.advance(DAY);
  }
  const reconciled = reconciliation();
  await reconciled.round();
  const { days } = await compare(reconciled, 0, 28);
  expect(days.map(({ total }) => total.difference?.inputTokens)).toEqual(
    Array.from({ length: 28 }, (_, day) => 100 + day),
  );
  expect(asked()).toBe(2 * 5);
});

test("the reports are read once an hour, by one of all instances, and outlive them", async () => {
  const { clock, past, reconciliation, compare, asked } = await world();
  await past(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  clock.advance(DAY);
  const [first, second] = [reconciliation(), reconciliation()];
  await Promise.all([first.round(), first.round(), second.round()]);
  const once = asked();
  expect(once).toBe(2 * 5);
  const readAt = iso(clock.now());
  clock.advance(HOUR - 1);
  await second.round();
  expect(asked()).toBe(once);
  // The key was taken away since; what was read is still there.
  expect((await compare(reconciliation(null))).days).toMatchObject([{ readAt, reason: null }]);
  clock.advance(1);
  await second.round();
  expect(asked()).toBe(2 * once);
  expect((await compare(first)).days).toMatchObject([{ readAt: iso(clock.now()) }]);
});

test("a failing Admin API is told, harms nothing, and is asked again", async () => {
  const { clock, simulator, past, reconciliation, compare } = await world({ apiKeys: ["sk-ant-test", ADMIN_KEY] });
  await past(OPUS, { "input-tokens": 1_000, "output-tokens": 70 });
  clock.advance(DAY);
  const wrong = reconciliation("sk-ant-admin01-wrong");
  await wrong.round();
  const { reading, days } = await compare(wrong);
  expect(reading.fault).toMatch(/does not accept ANTHROPIC_ADMIN_KEY \(401\)/);
  expect(reading.fault).not.toContain("wrong");
  expect(days).toMatchObject([{ reason: "not_read", readAt: null, models: [] }]);

  const good = reconciliation();
  await good.round();
  const before = (await compare(good)).days;
  expect(before).toMatchObject([{ models: [{ difference: { inputTokens: 1_000 } }] }]);
  await simulator.close();
  clock.advance(HOUR);
  await good.round();
  const after = await compare(good);
  expect(after.reading.fault).toMatch(/cannot be reached for its usage_report\/messages: /);
  expect(after.days).toEqual(before);
});

test.each([
  ["a body that is no JSON", "<html>", /usage_report\/messages of .* is not as it is documented/],
  ["pages without an end", { data: [], has_more: true, next_page: "again" }, /do not come to an end/],
  [
    "a negative count",
    {
      data: [{ starting_at: "2026-11-01T00:00:00Z", results: [{ model: OPUS, uncached_input_tokens: -1 }] }],
      has_more: false,
      next_page: null,
    },
    /is not as it is documented \(data.0.results.0/,
  ],
])("an answer that is not as documented stores nothing: %s", async (_name, body, message) => {
  const server = createServer((_request, response) =>
    response.end(typeof body === "string" ? body : JSON.stringify(body)),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { clock, database, reconciliation, compare } = await world();
  clock.advance(DAY);
  const reconciled = reconciliation(ADMIN_KEY, database, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await reconciled.round();
  const { reading, days } = await compare(reconciled);
  expect(reading.fault).toMatch(message);
  expect(days).toMatchObject([{ reason: "not_read" }]);
  server.closeAllConnections();
});

test("a database that is away is told as well", async () => {
  const { clock, database, reconciliation, compare } = await world();
  clock.advance(DAY);
  let away = true;
  const failing: Database = {
    call: (name, args, answer) => (away ? Promise.reject(new Error("away")) : database.call(name, args, answer)),
  };
  const reconciled = reconciliation(ADMIN_KEY, failing);
  await reconciled.round();
  away = false;
  expect((await compare(reconciled)).reading.fault).toBe("away");
  await reconciled.round();
  expect((await compare(reconciled)).reading.fault).toBeNull();
});
