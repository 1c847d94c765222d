import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createAccess } from "../../lib/access/access.ts";
import type { Database } from "../../lib/database/database.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { AppError } from "../../lib/kit/errors.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { LimitBook } from "../../lib/limits/limit-book.ts";
import { Costs } from "../../lib/overview/costs.ts";
import { Housekeeping } from "../../lib/overview/housekeeping.ts";
import { OverviewHub } from "../../lib/overview/overview-hub.ts";
import { Refusals } from "../../lib/overview/refusals.ts";
import type { GatewayState } from "../../lib/overview/schema.ts";
import { Waits } from "../../lib/overview/waits.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { Drain } from "../../lib/usage/drain.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import type { CallRecord } from "../../lib/usage/schema.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { callRecord } from "../support/call-record.ts";
import { openTestDatabase } from "../support/database.ts";

const place = { upstream: "default", pool: "opus-5.5", lane: "standard" } as const;
const key = "default/opus-5.5/standard";

/** The database refuses what is long past or far ahead; here nothing turns over an hour or a day by accident. */
const SOON = Math.ceil(Date.now() / 3_600_000) * 3_600_000 + 3_600_000 + 17 * 60_000 + 31_000;

let stored: Awaited<ReturnType<typeof openTestDatabase>>;
let dir: string;

beforeEach(async () => {
  stored = await openTestDatabase();
  dir = mkdtempSync(join(tmpdir(), "headroom-overview-"));
});
afterEach(() => stored.close());

/** One life of the process, as far as the overview is concerned. */
function startProcess(clock: ManualClock, database: Database = stored.database) {
  const spool = new Spool(dir);
  const live = new LiveUsage({ clock });
  const limits = new LimitBook({ clock, use: live });
  const costs = new Costs({ clock });
  const refusals = new Refusals({ clock });
  const gateway = () => ({ upstream: "default" }) as GatewayState;
  const controller = new TrafficController({ random: () => 0 });
  const overview = new OverviewHub({
    ...{ clock, live, limits, costs, refusals, gateway, waits: new Waits({ clock }) },
    alerts: () => [],
    traffic: () => controller.snapshot(clock.monotonic() / 1000),
  });
  const builtIn = { baseUrl: "http://upstream.test", apiKey: null };
  const access = createAccess({ database, box: new SecretBox(Buffer.alloc(32)), clock, builtIn });
  const drain = new Drain({ spool, database, rejectedPath: join(dir, "rejected.jsonl"), log: silentLog });
  const housekeeping = new Housekeeping({
    ...{ database, live, limits, costs, refusals, overview, access, clock, log: silentLog },
    recovered: () => drain.recovered,
  });
  return {
    ...{ spool, live, limits, overview, drain, housekeeping },
    run(change: Partial<CallRecord>) {
      const open = live.open({ ...place, agent: change.agent ?? "checkout-bot" });
      const call = callRecord({ startedAt: new Date(clock.now()).toISOString(), ...change });
      overview.add(call, spool.record(call));
      open.close(call);
      return call;
    },
    /** What a start does in the background, to its end. */
    async comeBack() {
      while ((await drain.step()) > 0);
      await housekeeping.round();
    },
  };
}

test("after a kill the overview comes back to the very call", async () => {
  const clock = new ManualClock(SOON);
  const before = startProcess(clock);
  await before.comeBack();
  for (let index = 0; index < 300; index++) {
    before.run({ agent: `agent-${index % 3}`, inputTokens: 100 + index, outputTokens: 10, costNanoUsd: 1_000_001 });
    // Two calls of one millisecond have no order among them.
    clock.advance(100);
    if (index % 50 === 0) before.run({ outcome: "refused", status: 429, refusal: "input_tokens", costNanoUsd: 0 });
    clock.advance(1_000);
    if (index === 150) while ((await before.drain.step()) > 0);
  }
  before.limits.observe(
    place,
    [{ lane: "standard", limiter: "requests", limit: 77, remaining: 70, resetAt: null }],
    clock.now(),
  );
  await before.housekeeping.round();
  const was = before.overview.first();

  const after = startProcess(clock);
  await after.comeBack();
  const is = after.overview.first();
  expect(is.cost.todayNanoUsd).toBe(300 * 1_000_001);
  expect(is.cost.hoursNanoUsd).toEqual(was.cost.hoursNanoUsd);
  expect(is.refusals).toEqual(was.refusals);
  expect(is.calls).toEqual(was.calls);
  expect(is.series[key]).toEqual(was.series[key]);
  expect(is.agents.map(({ pools: _, ...agent }) => agent)).toEqual(was.agents.map(({ pools: _, ...agent }) => agent));
  expect(is.pools[0]?.limiters[0]).toMatchObject({ limiter: "requests", limit: 77, source: "header" });
});

test("calls of this process are not counted again when it looks back late", async () => {
  const clock = new ManualClock(SOON);
  startProcess(clock).run({ inputTokens: 5, costNanoUsd: 500 });
  clock.advance(2_000);

  let away = true;
  const database: Database = {
    call: (name, args, answer) => {
      if (away) throw new AppError("unavailable", "the database is away");
      return stored.database.call(name, args, answer);
    },
  };
  const after = startProcess(clock, database);
  clock.advance(1_000);
  after.run({ inputTokens: 7, costNanoUsd: 700 });
  await after.housekeeping.round();
  expect(after.housekeeping.fault).toBe("the database is away");
  expect(after.overview.first().cost.todayNanoUsd).toBe(700);

  away = false;
  await after.comeBack();
  expect(after.housekeeping.fault).toBeNull();
  expect(after.overview.first().cost.todayNanoUsd).toBe(1_200);
  const now = Math.floor(clock.now() / 1000);
  expect(after.live.used(key, "input_tokens", now - 60, now)).toBe(12);
});

test("limits that could not be stored are stored with the next turn", async () => {
  const clock = new ManualClock(SOON);
  let away = false;
  const database: Database = {
    call: (name, args, answer) => {
      if (away && name === "limits_record") throw new AppError("unavailable", "away");
      return stored.database.call(name, args, answer);
    },
  };
  const running = startProcess(clock, database);
  await running.comeBack();
  away = true;
  running.limits.observe(
    place,
    [{ lane: "standard", limiter: "requests", limit: 50, remaining: 9, resetAt: null }],
    clock.now(),
  );
  await running.housekeeping.round();
  away = false;
  await running.housekeeping.round();
  const [row] = await stored.sql("select * from gateway.limits");
  expect(row).toMatchObject({ upstream: "default", pool: "opus-5.5", limiter: "requests" });
});

test("yesterday's cost is no part of today's", async () => {
  const clock = new ManualClock(Date.UTC(2026, 10, 23, 23, 59, 30));
  const running = startProcess(clock);
  running.run({ costNanoUsd: 900 });
  expect(running.overview.first().cost.todayNanoUsd).toBe(900);
  clock.advance(60_000);
  running.run({ costNanoUsd: 40 });
  expect(running.overview.first().cost).toMatchObject({ todayNanoUsd: 40, hoursNanoUsd: [40] });
});
