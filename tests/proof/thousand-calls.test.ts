import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { LimitBook } from "../../lib/limits/limit-book.ts";
import type { LedgerEntry, LedgerUsage } from "../../lib/simulator/ledger.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { Drain } from "../../lib/usage/drain.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import { CallRecord, UsageTotals } from "../../lib/usage/schema.ts";
import { Spool } from "../../lib/usage/spool.ts";
import { openTestDatabase } from "../support/database.ts";
import { openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { Random } from "../support/random.ts";
import { type CallOutcome, makeCall, openAgent, planCall, retryOf } from "../support/soak-traffic.ts";

/**
 * A thousand calls with hang-ups at any moment, cuts, compressions, retries and errors, into a real database by way of a
 * real spool; then the upstream's ledger and the database are compared.
 *
 * What is equal, exactly:
 * - each call that reached Headroom has one row, and no other row is there;
 * - a call that was answered whole has the ledger's status and tokens, column by column;
 * - a stream that was cut, by either side, after its `message_start` has the ledger's prompt, column by column, for that
 *   event counts it whole.
 *
 * What cannot be: a stream counts its output in its last events only. Of one that ended before them Headroom knows the
 * bytes that came, so its row has an estimate of the output, marked `partial`. What the upstream produced after a hang-up
 * nobody but the upstream can know; and a plain answer that did not come whole says nothing, so its row has no price,
 * which is not the same as a price of zero.
 */

const CALLS = 1_000;
const AT_ONCE = 32;
const MB = 1024 * 1024;
/** The simulator spends four bytes on a token, the estimate expects 3.2; and events have a frame. */
const ESTIMATE = { least: 0.7, most: 1.6, slack: 12 };

const PROMPT = ["inputTokens", "cacheWrite5mTokens", "cacheWrite1hTokens", "cacheReadTokens"] as const;

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  test(`${CALLS} calls that go wrong in every way are in the books as in the upstream's own`, {
    timeout: 180_000,
  }, async () => {
    const limits = { requests: 1_000_000, input_tokens: 1_000_000_000, output_tokens: 1_000_000_000 };
    const pools = ["opus-5.5", "sonnet-5.5", "haiku-5.5", "haiku-4.5", "fable-5.x"];
    const simulator = await startSimulator({
      ...{ seed: 3, slowHeadersMs: 60_000, pingMs: 20 },
      limits: Object.fromEntries(pools.map((pool) => [pool, limits])),
    });
    onTestFinished(simulator.close);
    const folder = mkdtempSync(join(tmpdir(), "headroom-soak-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const { database, sql, close } = await openTestDatabase();
    onTestFinished(close);
    const spool = new Spool(folder);
    const drain = new Drain({ spool, database, rejectedPath: join(folder, "rejected.jsonl"), log: silentLog });
    drain.start();
    const live = new LiveUsage({ clock: systemClock });
    const opened = await openDoor(door, simulator.url, {
      live,
      limits: new LimitBook({ clock: systemClock, use: live }),
      recorder: spool,
    });
    onTestFinished(opened.close);

    const random = new Random(door === "socket" ? 41 : 42);
    const outcomes: CallOutcome[] = [];
    const agent = openAgent();
    onTestFinished(() => agent.destroy());
    let next = 0;
    const client = async (until: number) => {
      while (next < until) {
        next += 1;
        let plan = planCall(random, next);
        for (let attempt = 1; ; attempt += 1) {
          const outcome = await makeCall(opened.url, plan, agent);
          outcomes.push(outcome);
          const failed = outcome.ending !== "left" && (outcome.status === null || outcome.status >= 429);
          if (!failed || attempt === 3) break;
          plan = retryOf(plan, attempt);
        }
      }
    };
    const round = async (until: number) => {
      await Promise.all(Array.from({ length: AT_ONCE }, () => client(until)));
      await untilSo(() => opened.gateway.openCalls === 0);
      await simulator.idle();
      return memory();
    };
    const warm = await round(CALLS / 2);
    const end = await round(CALLS);

    expect(opened.gateway.openCalls).toBe(0);
    expect(live.openCalls).toBe(0);
    await drain.close();
    spool.close();
    expect(readdirSync(folder)).toEqual([]);
    const stored = await sql("select gateway.call_json(c) as call from gateway.calls c");
    const rows = stored.map(({ call }) => CallRecord.parse(typeof call === "string" ? JSON.parse(call) : call));

    // One row for each call, and no other.
    expect(rows.map(({ agent }) => agent).sort()).toEqual(outcomes.map(({ plan }) => plan.label).sort());

    const entries = new Map(simulator.ledger.entries.map((entry) => [entry.requestId, entry]));
    const byLabel = new Map(rows.map((row) => [row.agent, row]));
    const faults: string[] = [];
    const sums = { whole: noTokens(), ledger: noTokens() };
    const seen = { whole: 0, cut: 0, left: 0, partialStreams: 0 };
    for (const outcome of outcomes) {
      const row = byLabel.get(outcome.plan.label);
      if (!row) continue;
      seen[outcome.ending] += 1;
      const entry = entries.get(row.requestId ?? "");
      const isWhole = outcome.ending === "whole" && row.outcome !== "partial";
      if (isWhole && entry) {
        add(sums.whole, tokensOf(row));
        add(sums.ledger, tokensOfEntry(entry.usage));
      }
      faults.push(...judge(outcome, row, entry, isWhole));
      if (row.streamed && row.outcome === "partial") seen.partialStreams += 1;
    }
    expect(faults).toEqual([]);
    expect(sums.whole).toEqual(sums.ledger);
    expect(sums.whole.outputTokens).toBeGreaterThan(50_000);
    // The run was what it says.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(15);

    // The database's own sums, and the live view's, are those of the rows.
    const day = 86_400_000;
    const at = (shift: number) => new Date(Date.now() + shift).toISOString();
    const { total } = await database.call(
      "usage_totals",
      { query: { from: at(-day), to: at(day), groupBy: [] } },
      UsageTotals,
    );
    const all = noTokens();
    for (const row of rows) add(all, tokensOf(row));
    expect(total).toMatchObject({ ...all, calls: rows.length });
    const now = Math.floor(Date.now() / 1000);
    const lived = live.pools().reduce((sum, { key }) => sum + live.used(key, "input_tokens", now - 900, now), 0);
    expect(lived).toBe(rows.reduce((sum, row) => sum + row.inputTokens + row.cacheWriteTokens, 0));

    expect(end.heapBytes - warm.heapBytes).toBeLessThan(8 * MB);
    expect(end.rssBytes - warm.rssBytes).toBeLessThan(64 * MB);
  });
});

/** What is wrong with a row, given what the client saw and what the upstream's ledger says. */
function judge(outcome: CallOutcome, row: CallRecord, entry: LedgerEntry | undefined, isWhole: boolean): string[] {
  const { plan, status, requestId, ending } = outcome;
  const faults: string[] = [];
  const check = (what: string, isRight: boolean) => {
    if (!isRight)
      faults.push(`${plan.label} (${ending}, ${plan.fault}, ${plan.hangUp}): ${what}: ${status} ${describeRow(row)}`);
  };
  const has = tokensOf(row);
  const billed = entry ? tokensOfEntry(entry.usage) : null;
  if (ending !== "left") check("status", row.status === status);
  if (isWhole) {
    check("request id", row.requestId === requestId || plan.fault === "reset");
    if (status !== 200) {
      check("no tokens", sum(has) === 0 && row.costNanoUsd === 0 && ["refused", "failed"].includes(row.outcome));
      return faults;
    }
    check("outcome", row.outcome === "succeeded" && entry !== undefined);
    check("tokens", JSON.stringify(has) === JSON.stringify(billed));
    check("cost", entry?.billed === false ? row.costNanoUsd === 0 : (row.costNanoUsd ?? 0) > 0);
    return faults;
  }
  // The client left when Headroom had it all: then it is all there.
  if (row.outcome === "succeeded") {
    check("tokens of a whole answer", billed !== null && JSON.stringify(has) === JSON.stringify(billed));
    return faults;
  }
  if (row.outcome === "refused" || row.outcome === "failed") {
    check("a refusal's tokens", sum(has) === 0);
    return faults;
  }
  check("outcome", row.outcome === "partial" || row.outcome === "canceled");
  if (has.inputTokens === 0 && sum(has) === 0) {
    // What never went out costs nothing; of the rest nobody told.
    check(
      "its price",
      plan.hangUp === "uploading" ? row.costNanoUsd === 0 : row.costNanoUsd === null || entry?.billed === false,
    );
    return faults;
  }
  check("a stream", row.streamed && billed !== null);
  check(
    "the prompt",
    PROMPT.every((column) => has[column] === billed?.[column]),
  );
  const produced = billed?.outputTokens ?? 0;
  const { least, most, slack } = ESTIMATE;
  check(`an estimate of ${produced}`, has.outputTokens <= produced * most + slack);
  // What was produced but not on its way yet, as in a client's hang-up or in an encoder, is not here.
  if (plan.encoding === null && (ending === "cut" || (plan.fault === "error-event" && ending !== "left"))) {
    check(`an estimate of ${produced}`, has.outputTokens >= produced * least - slack);
  }
  return faults;
}

function describeRow({ outcome, status, costNanoUsd, latencyMs, ...row }: CallRecord): string {
  return JSON.stringify({ outcome, status, costNanoUsd, latencyMs, ...tokensOf(row) });
}

type Tokens = Record<(typeof PROMPT)[number] | "outputTokens", number>;

function noTokens(): Tokens {
  return { inputTokens: 0, cacheWrite5mTokens: 0, cacheWrite1hTokens: 0, cacheReadTokens: 0, outputTokens: 0 };
}

function tokensOf({
  inputTokens,
  cacheWrite5mTokens,
  cacheWrite1hTokens,
  cacheReadTokens,
  outputTokens,
}: Tokens): Tokens {
  return { inputTokens, cacheWrite5mTokens, cacheWrite1hTokens, cacheReadTokens, outputTokens };
}

function tokensOfEntry(usage: LedgerUsage): Tokens {
  return {
    inputTokens: usage.inputTokens,
    cacheWrite5mTokens: usage.cacheWrite5m,
    cacheWrite1hTokens: usage.cacheWrite1h,
    cacheReadTokens: usage.cacheRead,
    outputTokens: usage.output,
  };
}

function add(to: Tokens, tokens: Tokens): void {
  for (const column of [...PROMPT, "outputTokens"] as const) to[column] += tokens[column];
}

function sum(tokens: Tokens): number {
  return Object.values(tokens).reduce((total, count) => total + count, 0);
}

async function untilSo(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!isSo() && performance.now() < end) await turn();
}

function memory(): { heapBytes: number; rssBytes: number } {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapBytes: heapUsed + external, rssBytes: rss };
}
