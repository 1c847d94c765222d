import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { latencyBucket, latencyValue } from "../../lib/usage/histogram.ts";
import type { CallRecord, CallsQuery, UsageSums } from "../../lib/usage/schema.ts";
import { CallRecord as CallSchema, CallsPage, UsageSeries, UsageTotals } from "../../lib/usage/schema.ts";
import { KEY_A, KEY_B, makeCall, makeCalls, seeded } from "./calls.ts";
import type { Open } from "./suite.ts";

const Inserted = z.object({ inserted: z.int() });
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export function usageSuite(open: Open): void {
  const record = (rows: readonly object[]) => open().database.call("calls_record", { rows }, Inserted);
  const list = (filter: Partial<CallsQuery>) => open().database.call("calls_list", { filter }, CallsPage);
  const totals = (query: object) => open().database.call("usage_totals", { query }, UsageTotals);
  const series = (query: object) => open().database.call("usage_series", { query }, UsageSeries);
  const empty = async () => {
    for (const table of ["calls", "usage_1m", "usage_1h", "latency_hist_1m", "latency_hist_1h"]) {
      await open().sql(`delete from gateway.${table}`);
    }
    await open().sql(`update gateway.retention set raw_days = 30, calls_from = '-infinity',
      minutes_from = '-infinity', histograms_from = '-infinity'`);
  };

  /** Raw rows, sums and histograms count the same calls. */
  const agree = async () => {
    const [row] = await open().sql(`select
      (select count(*) from gateway.calls)::int as calls,
      (select coalesce(sum(calls), 0) from gateway.usage_1m)::int as minutes,
      (select coalesce(sum(calls), 0) from gateway.usage_1h)::int as hours,
      (select count(*) from gateway.calls
        where outcome in ('succeeded', 'partial') and not cache_hit
          and service_tier is distinct from 'batch')::int as answered,
      (select coalesce(sum(n), 0) from gateway.latency_hist_1m where metric = 'latency')::int as histogram,
      (select coalesce(sum(n), 0) from gateway.latency_hist_1h where metric = 'latency')::int as histogram_hours`);
    expect(row).toMatchObject({ minutes: row?.calls, hours: row?.calls });
    expect(row).toMatchObject({ histogram: row?.answered, histogram_hours: row?.answered });
    return Number(row?.calls);
  };

  describe("recording", () => {
    beforeAll(empty);

    test("a call is read as it was written, every field", async () => {
      const call = makeCall({
        agentKeyId: "0193a000-0000-7000-8000-000000000001",
        session: "session-1",
        label: "crawler 7",
        userId: "customer-9",
        clientAgent: "agent-3",
        batchId: "msgbatch_1",
        outcome: "refused",
        refusal: "input_tokens",
        status: 429,
        errorType: "rate_limit_error",
        errorCode: "rate_limited",
        speed: "fast",
        inferenceGeo: "us",
        lane: "fast",
        waitMs: 12.5,
        ttftMs: null,
        costNanoUsd: 9_007_199_254_740_991,
        cacheHit: true,
      });
      expect(await record([call])).toEqual({ inserted: 1 });
      expect(await open().database.call("calls_get", { call_id: call.id }, CallSchema)).toEqual(call);
    });

    test("a call nobody made is null, and before the first call there was none", async () => {
      const id = "0193a000-0000-7000-8000-00000000dead";
      expect(await open().database.call("calls_get", { call_id: id }, z.null())).toBeNull();
      const Any = z.object({ any: z.boolean() });
      expect(await open().database.call("calls_any", {}, Any)).toEqual({ any: true });
      await empty();
      expect(await open().database.call("calls_any", {}, Any)).toEqual({ any: false });
    });

    test("a batch that is sent again, in halves, overlapping or doubled, counts once", async () => {
      const calls = makeCalls(100, { fromMs: Date.now() - 3 * HOUR, toMs: Date.now() });
      expect(await record(calls)).toEqual({ inserted: 100 });
      expect(await record(calls)).toEqual({ inserted: 0 });
      expect(await record(calls.slice(0, 50))).toEqual({ inserted: 0 });
      const more = makeCalls(10, { fromMs: Date.now() - HOUR, toMs: Date.now() }, 2);
      expect(await record([...calls.slice(50), ...more, ...more])).toEqual({ inserted: 10 });
      expect(await agree()).toBe(110);
    });

    test("rows of the version before, which say less, are taken, and what they do not say is null or none", async () => {
      const call = makeCall();
      const { label, userId, clientAgent, batchId, webFetchRequests, codeExecutionRequests, ...said } = call;
      expect(await record([said])).toEqual({ inserted: 1 });
      const neutral = { label: null, userId: null, clientAgent: null, batchId: null };
      expect(await open().database.call("calls_get", { call_id: call.id }, CallSchema)).toEqual({
        ...{ ...said, ...neutral, webFetchRequests: 0, codeExecutionRequests: 0 },
      });
      expect(CallSchema.parse(said)).toMatchObject(neutral);
    });

    test("a batch's results belong to who made it, however long ago and whoever fetched them", async () => {
      const made = makeCall({
        ...{ startedAt: new Date(Date.now() - 3 * HOUR - 5_000).toISOString(), endpoint: "/v1/messages/batches" },
        ...{ agent: "maker", agentSource: "key", agentKeyId: KEY_A, label: "nightly", userId: "u-1" },
        ...{ batchId: "msgbatch_made", serviceTier: null, costNanoUsd: 0 },
      });
      await record([made]);
      const startedAt = new Date(Date.now() - 3 * HOUR).toISOString();
      const result = (batchId: string) =>
        makeCall({
          ...{ startedAt, batchId, serviceTier: "batch", agent: "fetcher", agentSource: "key", agentKeyId: KEY_B },
          ...{ session: "s", client: "curl/8" },
        });
      const [mine, other, plain] = [result("msgbatch_made"), result("msgbatch_unheard"), makeCall()];
      expect(await record([mine, other, plain])).toEqual({ inserted: 3 });
      const { agent, agentSource, agentKeyId, session, client, label, userId, clientAgent } = made;
      const maker = { agent, agentSource, agentKeyId, session, client, label, userId, clientAgent };
      const stored = (call: CallRecord) => open().database.call("calls_get", { call_id: call.id }, CallSchema);
      expect(await stored(mine)).toEqual({ ...mine, ...maker });
      expect(await stored(other)).toEqual(other);
      expect(await stored(plain)).toEqual(plain);
    });

    test("a batch with one bad row is refused whole, as the caller's fault", async () => {
      const before = await agree();
      const good = makeCall();
      const bad = [
        { ...makeCall(), inputTokens: "many" },
        { ...makeCall(), inputTokens: -1 },
        { ...makeCall(), outcome: "vanished" },
        { ...makeCall(), agent: null },
        { ...makeCall(), startedAt: "soon" },
        { ...makeCall(), startedAt: undefined },
        { ...makeCall(), id: "not an id" },
        { ...makeCall(), session: "a\u0000b" },
        makeCall({ startedAt: new Date(Date.now() + 2 * DAY).toISOString() }),
        makeCall({ startedAt: new Date(Date.now() - 40 * DAY).toISOString() }),
      ];
      for (const row of bad) await expect(record([good, row])).rejects.toMatchObject({ code: "invalid_input" });
      await expect(open().database.call("calls_record", { rows: { not: "an array" } }, Inserted)).rejects.toMatchObject(
        { code: "invalid_input" },
      );
      expect(await agree()).toBe(before);
    });

    test("a batch that is written as JSON already goes as it stands, and a torn one is invalid", async () => {
      const calls = [makeCall(), makeCall({ session: 'two\n"lines", 世界 🌍' }), makeCall()];
      const send = (json: string) => open().database.call("calls_record", Buffer.from(json), Inserted);
      const rows = calls.map((call) => JSON.stringify(call)).join(",");
      expect(await send(`{"rows":[${rows}]}`)).toEqual({ inserted: 3 });
      expect(await send(`{"rows":[${rows}]}`)).toEqual({ inserted: 0 });
      const { calls: found } = await list({ session: calls[1]?.session ?? "" });
      expect(found).toMatchObject([{ id: calls[1]?.id }]);
      for (const torn of [`${rows},{"id":"torn`, `${rows},`, `${rows},5`]) {
        await expect(send(`{"rows":[${torn}]}`)).rejects.toMatchObject({ code: "invalid_input" });
      }
    });

    test("a row of an older gateway, without the newer keys, is taken", async () => {
      const { id, startedAt, agent, upstream, method, endpoint, outcome, latencyMs } = makeCall();
      expect(await record([{ id, startedAt, agent, upstream, method, endpoint, outcome, latencyMs }])).toEqual({
        inserted: 1,
      });
      const call = await open().database.call("calls_get", { call_id: id }, CallSchema);
      expect(call).toMatchObject({ inputTokens: 0, lane: "standard", rateLimitHeaders: {}, costNanoUsd: null });
    });

    test("an empty batch is nothing", async () => {
      expect(await record([])).toEqual({ inserted: 0 });
    });
  });

  describe("reading", () => {
    const toMs = Math.floor(Date.now() / HOUR) * HOUR;
    const fromMs = toMs - 60 * HOUR;
    const calls = makeCalls(1500, { fromMs, toMs }, 5);
    const span = { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString() };

    beforeAll(async () => {
      await empty();
      for (let index = 0; index < calls.length; index += 300) await record(calls.slice(index, index + 300));
    });

    test("totals are the sums of the calls, in all and by each group", async () => {
      const answer = await totals({ ...span, groupBy: ["model", "agent"] });
      expect(answer.total).toEqual(sumOf(calls));
      expect(answer.groups).toHaveLength(12);
      for (const { group, sums } of answer.groups) {
        expect(sums).toEqual(sumOf(calls.filter((call) => call.model === group.model && call.agent === group.agent)));
      }
    });

    test("totals between any two minutes are exact, whichever hours lie between", async () => {
      const random = seeded(3);
      for (let round = 0; round < 40; round += 1) {
        const a = fromMs + Math.floor(random() * 3600) * 60_000;
        const b = a + Math.ceil(random() ** 3 * 3600) * 60_000;
        const { total } = await totals({ from: new Date(a).toISOString(), to: new Date(b).toISOString() });
        expect(total).toEqual(sumOf(calls.filter((call) => within(call, a, b))));
      }
    });

    test.each([60, 300, 3600, 10_800, 86_400])(
      "a series by %d s holds every call in its bucket",
      async (stepSeconds) => {
        const from = stepSeconds === 60 ? toMs - 6 * HOUR : fromMs;
        const answer = await series({
          ...span,
          from: new Date(from).toISOString(),
          stepSeconds,
          groupBy: ["upstream"],
        });
        expect(answer.stepSeconds).toBe(stepSeconds);
        let seen = 0;
        for (const { at, group, sums } of answer.points) {
          const start = Date.parse(at);
          const mine = calls.filter(
            (call) =>
              within(call, Math.max(start, from), start + stepSeconds * 1000) && call.upstream === group.upstream,
          );
          expect(sums).toEqual(sumOf(mine));
          seen += mine.length;
        }
        expect(seen).toBe(calls.filter((call) => within(call, from, toMs)).length);
      },
    );

    test("a filter leaves the others out", async () => {
      const { total } = await totals({ ...span, agent: "writer", upstream: "main", model: "claude-opus-5" });
      expect(total).toEqual(
        sumOf(
          calls.filter(
            ({ agent, upstream, model }) => agent === "writer" && upstream === "main" && model === "claude-opus-5",
          ),
        ),
      );
    });

    test("sums and days are the same in every time zone, daylight saving or half hours", async () => {
      const answers = new Set<string>();
      for (const zone of ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]) {
        const rows = await open().sql(
          `select set_config('TimeZone', $1::text, true),
             public.usage_series($2::text::jsonb)::text || public.usage_totals($2::text::jsonb)::text
               || public.calls_list('{"limit": 20}')::text as answer`,
          [zone, JSON.stringify({ ...span, stepSeconds: 86_400, groupBy: ["model"] })],
        );
        answers.add(String(rows[0]?.answer));
      }
      expect(answers.size).toBe(1);
    });

    test("too many points, a span backwards and a bad step are refused with what to do", async () => {
      const year = { from: "2025-11-23T00:00:00Z", to: "2026-11-23T00:00:00Z" };
      await expect(series({ ...year, stepSeconds: 60 })).rejects.toThrow(/larger stepSeconds or a shorter range/);
      await expect(series({ from: year.to, to: year.from })).rejects.toMatchObject({ code: "invalid_input" });
      await expect(series({ ...span, stepSeconds: 1 })).rejects.toMatchObject({ code: "invalid_input" });
      await expect(totals({ from: "tomorrow, perhaps", to: year.to })).rejects.toMatchObject({ code: "invalid_input" });
    });

    test("pages go through every call once, newest first", async () => {
      const seen: CallRecord[] = [];
      let cursor: string | undefined;
      do {
        const page: CallsPage = await list({ limit: 170, ...(cursor ? { cursor } : {}) });
        seen.push(...page.calls);
        cursor = page.nextCursor ?? undefined;
      } while (cursor);
      expect(seen).toEqual(newestFirst(calls));
    });

    const filters: [Partial<CallsQuery>, (call: CallRecord) => boolean][] = [
      [{ agent: "writer" }, (call) => call.agent === "writer"],
      [
        { model: "claude-opus-5", outcome: "failed" },
        (call) => call.model === "claude-opus-5" && call.outcome === "failed",
      ],
      [{ outcome: "refused" }, (call) => call.outcome === "refused"],
      [
        { outcome: "succeeded", upstream: "second" },
        (call) => call.outcome === "succeeded" && call.upstream === "second",
      ],
      [{ refusal: "requests" }, (call) => call.refusal === "requests"],
      [{ status: 500 }, (call) => call.status === 500],
      [{ cacheHit: true }, (call) => call.cacheHit],
      [{ cacheHit: false, agent: "writer" }, (call) => !call.cacheHit && call.agent === "writer"],
      [{ pool: "claude-haiku-4-5" }, (call) => call.pool === "claude-haiku-4-5"],
      [{ client: "claude-cli/2.1.330" }, (call) => call.client === "claude-cli/2.1.330"],
      [{ agentKeyId: KEY_A }, (call) => call.agentKeyId === KEY_A],
      [{ label: "crawler", agent: "writer" }, (call) => call.label === "crawler" && call.agent === "writer"],
      [{ userId: "customer-9" }, (call) => call.userId === "customer-9"],
      [{ errorCode: "headroom_budget" }, (call) => call.errorCode === "headroom_budget"],
      [{ agent: "nobody" }, () => false],
      [{ requestId: "req_none" }, () => false],
    ];
    test.each(filters)("a list filtered by %j holds these and no others", async (filter, test) => {
      const expected = newestFirst(calls.filter(test));
      expect((await list({ ...filter, limit: 1000 })).calls).toEqual(expected.slice(0, 1000));
      const first = await list({ ...filter, limit: 7 });
      expect(first.calls).toEqual(expected.slice(0, 7));
      if (!first.nextCursor) return expect(expected.length).toBeLessThanOrEqual(7);
      const second = await list({ ...filter, limit: 7, cursor: first.nextCursor });
      expect(second.calls).toEqual(expected.slice(7, 14));
    });

    test("a list between two times includes the first and excludes the second", async () => {
      const [newest, next, third] = newestFirst(calls);
      const page = await list({ from: third?.startedAt ?? "", to: newest?.startedAt ?? "" });
      expect(page.calls).toEqual([next, third]);
    });

    test("a cursor of one's own making is refused", async () => {
      await expect(list({ cursor: "1'; drop table gateway.calls; --" })).rejects.toMatchObject({
        code: "invalid_input",
      });
    });

    test("latency quantiles are those of the calls that the upstream answered, within 2 %, and add up over models", async () => {
      const Points = z.object({
        points: z.array(
          z.object({
            at: z.string(),
            model: z.string().nullable(),
            metric: z.string(),
            quantile: z.number(),
            ms: z.number(),
          }),
        ),
      });
      const { points } = await open().database.call("usage_latency", { query: { ...span, stepSeconds: null } }, Points);
      expect(points).toHaveLength(6);
      const answered = calls.filter(
        ({ outcome, cacheHit }) => !cacheHit && (outcome === "succeeded" || outcome === "partial"),
      );
      for (const { metric, quantile, ms } of points) {
        const values = answered
          .map((call) => (metric === "latency" ? call.latencyMs : (call.ttftMs ?? 0)))
          .sort((a, b) => a - b);
        const exact = values[Math.ceil(quantile * values.length) - 1] ?? 0;
        expect(ms).toBeCloseTo(latencyValue(latencyBucket(exact)), 6);
      }
      const query = { ...span, stepSeconds: 3600, groupBy: ["model"], quantiles: [0.5], model: "claude-opus-5" };
      const hourly = await open().database.call("usage_latency", { query }, Points);
      expect(new Set(hourly.points.map(({ model }) => model))).toEqual(new Set(["claude-opus-5"]));
    });
  });

  describe("the last minutes", () => {
    beforeAll(empty);

    test("use by the second adds up to the calls that were sent", async () => {
      const toMs = Date.now();
      const calls = makeCalls(300, { fromMs: toMs - 600_000, toMs }, 9);
      await record(calls);
      const sent = calls.filter(({ cacheHit }) => !cacheHit);
      expect(sent.length).toBeLessThan(300);
      const Points = z.object({
        points: z.array(
          z.object({
            second: z.int(),
            upstream: z.string(),
            pool: z.string().nullable(),
            lane: z.string(),
            agent: z.string(),
            requests: z.int(),
            inputTokens: z.int(),
            cacheWriteTokens: z.int(),
            cacheReadTokens: z.int(),
            outputTokens: z.int(),
          }),
        ),
      });
      const since = new Date(toMs - 960_000).toISOString();
      const { points } = await open().database.call("calls_seconds", { since }, Points);
      const add = (pick: (point: (typeof points)[number]) => number) =>
        points.reduce((sum, point) => sum + pick(point), 0);
      expect(add(({ requests }) => requests)).toBe(sent.length);
      expect(add(({ inputTokens }) => inputTokens)).toBe(sumOf(sent).inputTokens);
      expect(add(({ outputTokens }) => outputTokens)).toBe(sumOf(sent).outputTokens);
      for (const point of points) {
        const mine = sent.filter(
          (call) =>
            Math.floor(Date.parse(call.startedAt) / 1000) === point.second &&
            call.agent === point.agent &&
            call.pool === point.pool &&
            call.upstream === point.upstream,
        );
        expect(point.requests).toBe(mine.length);
      }

      const Refusals = z.object({
        points: z.array(z.object({ minute: z.iso.datetime(), refusal: z.string(), calls: z.int() })),
      });
      const refusals = await open().database.call("refusals_by_minute", { since }, Refusals);
      for (const { minute, refusal, calls: count } of refusals.points) {
        const start = Date.parse(minute);
        expect(count).toBe(
          calls.filter((call) => call.refusal === refusal && within(call, start, start + 60_000)).length,
        );
      }
      expect(refusals.points.reduce((sum, point) => sum + point.calls, 0)).toBe(
        calls.filter(({ refusal }) => refusal).length,
      );
    });
  });

  describe("retention", () => {
    const Dropped = z.object({ dropped: z.array(z.string()) });
    const apply = (raw_days: number, minute_days: number, histogram_hours: number) =>
      open().database.call("retention_apply", { raw_days, minute_days, histogram_hours }, Dropped);
    beforeAll(empty);

    test("old days go whole, their hours stay, and a call from then is refused ever after", async () => {
      const toMs = Date.now();
      const calls = makeCalls(400, { fromMs: toMs - 9 * DAY, toMs }, 4);
      await record(calls);
      const { dropped } = await apply(3, 5, 48);
      const today = Math.floor(toMs / DAY) * DAY;
      expect(dropped.some((name) => name.startsWith("calls_"))).toBe(true);

      const kept = calls.filter(({ startedAt }) => Date.parse(startedAt) >= today - 3 * DAY);
      const [row] = await open().sql("select count(*)::int as calls from gateway.calls");
      expect(row?.calls).toBe(kept.length);

      const from = new Date(today - 10 * DAY).toISOString();
      const to = new Date(today + DAY).toISOString();
      expect((await totals({ from, to })).total).toEqual(sumOf(calls));
      const answer = await series({ from, to, stepSeconds: 60 });
      expect(answer.stepSeconds).toBe(3600);
      expect(answer.points.reduce((sum, { sums }) => sum + sums.calls, 0)).toBe(400);

      const old = calls.find(({ startedAt }) => Date.parse(startedAt) < today - 4 * DAY);
      await expect(record([old ?? {}])).rejects.toThrow(/are not kept any more/);
      await apply(30, 30, 48);
      await expect(record([old ?? {}])).rejects.toThrow(/are not kept any more/);
      expect((await apply(30, 30, 48)).dropped).toEqual([]);
    });

    test("to keep nothing is refused", async () => {
      await expect(apply(0, 30, 48)).rejects.toMatchObject({ code: "invalid_input" });
    });
  });
}

function within(call: CallRecord, fromMs: number, toMs: number): boolean {
  const at = Date.parse(call.startedAt);
  return at >= fromMs && at < toMs;
}

function newestFirst(calls: readonly CallRecord[]): CallRecord[] {
  return [...calls].sort((a, b) => (a.startedAt + a.id < b.startedAt + b.id ? 1 : -1));
}

function sumOf(calls: readonly CallRecord[]): UsageSums {
  const sum = (pick: (call: CallRecord) => number) => calls.reduce((total, call) => total + pick(call), 0);
  return {
    calls: calls.length,
    refusedCalls: sum(({ status }) => (status === 429 || status === 529 ? 1 : 0)),
    failedCalls: sum(({ outcome }) => (outcome === "failed" ? 1 : 0)),
    partialCalls: sum(({ outcome }) => (outcome === "partial" ? 1 : 0)),
    inputTokens: sum((call) => call.inputTokens),
    cacheWriteTokens: sum((call) => call.cacheWriteTokens),
    cacheWrite5mTokens: sum((call) => call.cacheWrite5mTokens),
    cacheWrite1hTokens: sum((call) => call.cacheWrite1hTokens),
    cacheReadTokens: sum((call) => call.cacheReadTokens),
    outputTokens: sum((call) => call.outputTokens),
    webSearchRequests: sum((call) => call.webSearchRequests),
    costNanoUsd: sum((call) => call.costNanoUsd ?? 0),
    unpricedCalls: sum(({ costNanoUsd }) => (costNanoUsd === null ? 1 : 0)),
  };
}
