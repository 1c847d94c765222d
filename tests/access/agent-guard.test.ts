import { describe, expect, test } from "vitest";
import { AgentGuard, type SpendRow } from "../../lib/access/agent-guard.ts";
import type { Lease } from "../../lib/access/agent-lease.ts";
import { type AgentSettings, DEFAULT_AGENT_SETTINGS } from "../../lib/access/schema.ts";
import { Random } from "../support/random.ts";

const NOON = Date.UTC(2026, 10, 23, 12);
const HOUR_MS = 3_600_000;
const MODEL = "claude-opus-5-5";

function makeGuard(change: Partial<AgentSettings> = {}) {
  const settings = { ...DEFAULT_AGENT_SETTINGS, ...change };
  const agent = { id: "a1", name: "night-batch", settings };
  const guard = new AgentGuard({ agents: { get: (id) => (id === "a1" ? agent : null) } });
  guard.learnSpend([]);
  const ask = (call: Partial<Parameters<typeof estimated>[0]> & { model?: string | null; nowMs?: number } = {}) =>
    guard.admit({
      agentId: "a1",
      model: call.model === undefined ? MODEL : call.model,
      nowMs: call.nowMs ?? NOON,
      estimate: estimated(call),
    });
  return { guard, agent, ask };
}

function estimated({ input = 10, output = 10, cost = 1 as number | null }) {
  return () => ({ inputTokens: input, maxOutputTokens: output, worstCaseNanoUsd: cost });
}

function leaseOf(admission: ReturnType<AgentGuard["admit"]>): Lease {
  if (!admission.admitted) throw new Error(admission.message);
  return admission.lease;
}

describe("models", () => {
  test.each([
    [null, "anything", true],
    [["claude-opus-5-5"], "claude-opus-5-5", true],
    [["claude-opus-5-5"], "claude-opus-5-5-20261001", false],
    [["claude-haiku-*"], "claude-haiku-4-5-20251001", true],
    [["claude-haiku-*", "claude-sonnet-5"], "claude-opus-5", false],
    [["*"], "anything", true],
    [["claude-*"], null, false],
    [null, null, true],
  ])("an agent that may use %j is let through with %s: %s", (allowedModels, model, admitted) => {
    const { ask } = makeGuard({ allowedModels });
    expect(ask({ model })).toMatchObject(admitted ? { admitted } : { admitted, reason: "model", retryAfterS: null });
  });

  test("a refusal names the agent, the model and what it may use", () => {
    const { ask } = makeGuard({ allowedModels: ["claude-haiku-*"] });
    expect(ask()).toMatchObject({
      message: "Agent night-batch may not use claude-opus-5-5; it may use claude-haiku-*.",
    });
  });
});

describe("requests a minute", () => {
  test("the cap frees exactly a minute after each call", () => {
    const { ask } = makeGuard({ requestsPerMinute: 2 });
    leaseOf(ask({ nowMs: NOON }));
    leaseOf(ask({ nowMs: NOON + 20_000 }));
    expect(ask({ nowMs: NOON + 20_500 })).toEqual({
      admitted: false,
      reason: "requests",
      message: "Agent night-batch has reached its cap of 2 requests a minute: it frees in 40 s.",
      retryAfterS: 40,
    });
    expect(ask({ nowMs: NOON + 59_999 }).admitted).toBe(false);
    expect(ask({ nowMs: NOON + 60_000 }).admitted).toBe(true);
    expect(ask({ nowMs: NOON + 60_001 }).admitted).toBe(false);
  });

  test("a call that was not sent gives its place back, once", () => {
    const { ask } = makeGuard({ requestsPerMinute: 1 });
    const lease = leaseOf(ask());
    lease.release();
    lease.release();
    leaseOf(ask());
    expect(ask().admitted).toBe(false);
  });
});

describe("tokens a minute", () => {
  test("what a call may use is held until it ends, then what it did use counts", () => {
    const { ask, guard } = makeGuard({ inputTokensPerMinute: 100, outputTokensPerMinute: 100 });
    const first = leaseOf(ask({ input: 60, output: 60 }));
    expect(ask({ input: 60, output: 1 })).toMatchObject({ reason: "input_tokens", retryAfterS: 60 });
    expect(ask({ input: 1, output: 60 })).toMatchObject({ reason: "output_tokens", retryAfterS: 5 });
    first.settle({ inputTokens: 20, outputTokens: 5, costNanoUsd: 0, nowMs: NOON + 1_000 });
    leaseOf(ask({ input: 60, output: 60, nowMs: NOON + 2_000 }));
    expect(guard.use("a1", NOON + 2_000)).toMatchObject({ inputTokens: 80, outputTokens: 5, openCalls: 1 });
  });

  test("a call larger than the whole cap goes out alone, and holds the next ones back", () => {
    const { ask } = makeGuard({ inputTokensPerMinute: 100 });
    const large = leaseOf(ask({ input: 5_000 }));
    large.settle({ inputTokens: 4_000, outputTokens: 0, costNanoUsd: 0, nowMs: NOON });
    expect(ask({ input: 1, nowMs: NOON + 59_000 })).toMatchObject({ reason: "input_tokens", retryAfterS: 1 });
    expect(ask({ input: 5_000, nowMs: NOON + 60_000 }).admitted).toBe(true);
  });

  test("a long answer counts in the minute in which it ends", () => {
    const { ask } = makeGuard({ outputTokensPerMinute: 100 });
    const long = leaseOf(ask({ output: 90 }));
    expect(ask({ output: 20, nowMs: NOON + 300_000 }).admitted).toBe(false);
    long.settle({ inputTokens: 0, outputTokens: 90, costNanoUsd: 0, nowMs: NOON + 300_000 });
    expect(ask({ output: 20, nowMs: NOON + 359_999 })).toMatchObject({ reason: "output_tokens", retryAfterS: 1 });
    expect(ask({ output: 20, nowMs: NOON + 360_000 }).admitted).toBe(true);
  });
});

describe("budgets", () => {
  const usd = 1_000_000_000;

  test("a day's budget frees at midnight UTC, a month's with the month", () => {
    const { ask } = makeGuard({ dailyBudgetNanoUsd: usd, monthlyBudgetNanoUsd: 3 * usd });
    const spend = (cost: number, nowMs: number) =>
      leaseOf(ask({ cost, nowMs })).settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: cost, nowMs });
    spend(usd, NOON);
    expect(ask({ cost: usd / 2 })).toEqual({
      admitted: false,
      reason: "budget",
      message:
        "Agent night-batch has spent $1.00 of its daily budget of $1.00, and this call may cost up to $0.50: it frees at 2026-11-24 00:00 UTC.",
      retryAfterS: 12 * 3600,
    });
    spend(usd, NOON + 12 * HOUR_MS);
    spend(usd, NOON + 36 * HOUR_MS);
    expect(ask({ cost: 1, nowMs: NOON + 60 * HOUR_MS })).toMatchObject({
      message: expect.stringContaining("monthly budget of $3.00"),
      retryAfterS: (Date.UTC(2026, 11, 1) - NOON) / 1000 - 60 * 3600,
    });
    expect(ask({ cost: usd, nowMs: Date.UTC(2026, 11, 1) }).admitted).toBe(true);
  });

  test("a call belongs to the day on which it arrived, whenever it ends", () => {
    const { ask, guard } = makeGuard({ dailyBudgetNanoUsd: usd });
    const midnight = Date.UTC(2026, 10, 24);
    const late = guard.admit({
      ...{ agentId: "a1", model: MODEL, estimate: estimated({ cost: usd }) },
      ...{ startedAtMs: midnight - 1, nowMs: midnight + 5 },
    });
    leaseOf(ask({ cost: usd, nowMs: midnight + 6 }));
    leaseOf(late).settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: usd, nowMs: midnight + 60_000 });
    expect(guard.use("a1", midnight - 1).spentTodayNanoUsd).toBe(usd);
    expect(guard.use("a1", midnight + 60_000).spentTodayNanoUsd).toBe(0);
  });

  test("what is held comes back when a call costs less, costs nothing, or was not sent", () => {
    const { ask, guard } = makeGuard({ dailyBudgetNanoUsd: 100 });
    const [cheap, free, unsent] = [leaseOf(ask({ cost: 30 })), leaseOf(ask({ cost: 30 })), leaseOf(ask({ cost: 40 }))];
    expect(ask({ cost: 1 })).toMatchObject({ reason: "budget", retryAfterS: 5 });
    cheap.settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: 10, nowMs: NOON });
    free.settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: 0, nowMs: NOON });
    unsent.release();
    unsent.settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: 40, nowMs: NOON });
    expect(guard.use("a1", NOON)).toMatchObject({ spentTodayNanoUsd: 10, reservedNanoUsd: 0, openCalls: 0 });
    expect(ask({ cost: 90 }).admitted).toBe(true);
  });

  test("a cost that nobody knows counts at its most: unknown is not free", () => {
    const { ask, guard } = makeGuard({ dailyBudgetNanoUsd: 100 });
    leaseOf(ask({ cost: 60 })).settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: null, nowMs: NOON });
    expect(guard.use("a1", NOON).spentTodayNanoUsd).toBe(60);
    expect(ask({ cost: 50 }).admitted).toBe(false);
  });

  test("a call whose cost cannot be bounded is refused under a budget and let through without one", () => {
    expect(makeGuard({ monthlyBudgetNanoUsd: 100 }).ask({ cost: null })).toMatchObject({ reason: "unpriced" });
    expect(makeGuard().ask({ cost: null }).admitted).toBe(true);
  });

  test("a call that may cost more than the whole budget is told to ask for less", () => {
    const denial = makeGuard({ dailyBudgetNanoUsd: usd }).ask({ cost: 2 * usd });
    expect(denial).toMatchObject({ reason: "budget", retryAfterS: null });
    expect(denial).toMatchObject({ message: expect.stringContaining("lower max_tokens") });
  });

  test("until past spending is known, agents with a budget wait and others do not", () => {
    const settings = { ...DEFAULT_AGENT_SETTINGS, dailyBudgetNanoUsd: 100 };
    const agents = {
      get: (id: string) => ({ id, name: id, settings: id === "free" ? DEFAULT_AGENT_SETTINGS : settings }),
    };
    const guard = new AgentGuard({ agents });
    const ask = (agentId: string) => guard.admit({ agentId, model: MODEL, estimate: estimated({}), nowMs: NOON });
    expect(ask("bound")).toMatchObject({ reason: "starting", retryAfterS: 1 });
    expect(ask("free").admitted).toBe(true);
    guard.learnSpend([]);
    expect(ask("bound").admitted).toBe(true);
  });

  test("what others spent is learned, and what the database does not know yet is not forgotten", () => {
    const { ask, guard } = makeGuard({ dailyBudgetNanoUsd: 100, monthlyBudgetNanoUsd: 200 });
    const row = (day: number, costNanoUsd: number): SpendRow => ({
      ...{ agentId: "a1", costNanoUsd },
      day: new Date(Date.UTC(2026, 10, day)).toISOString(),
    });
    guard.learnSpend([row(22, 90), row(23, 70)]);
    expect(ask({ cost: 31 })).toMatchObject({ reason: "budget" });
    leaseOf(ask({ cost: 30 })).settle({ inputTokens: 0, outputTokens: 0, costNanoUsd: 30, nowMs: NOON });
    guard.learnSpend([row(22, 90), row(23, 75)]);
    expect(guard.use("a1", NOON)).toMatchObject({ spentTodayNanoUsd: 100, spentThisMonthNanoUsd: 190 });
    expect(ask({ cost: 11, nowMs: NOON + 24 * HOUR_MS })).toMatchObject({ reason: "budget" });
  });
});

test("a switched off or revoked agent is refused, and a change of settings holds at once", () => {
  const { ask, agent, guard } = makeGuard({ enabled: false });
  expect(ask()).toMatchObject({ reason: "disabled", message: "Agent night-batch is switched off: ask an operator." });
  agent.settings.enabled = true;
  expect(ask().admitted).toBe(true);
  expect(guard.admit({ agentId: "gone", model: MODEL, estimate: null, nowMs: NOON })).toMatchObject({
    reason: "revoked",
  });
});

/**
 * Calls in random parallel orders over three days: they arrive, are held, and end late by any way out. After each step
 * nothing is over its cap, and when all have ended nothing is held.
 */
test("whether an agent may call a model is judged apart from what it has used, and uses nothing", () => {
  const { guard, agent, ask } = makeGuard({ allowedModels: [MODEL], requestsPerMinute: 1, dailyBudgetNanoUsd: 1 });
  leaseOf(ask());
  expect(ask()).toMatchObject({ reason: "requests" });
  expect(guard.judgeCall("a1", MODEL)).toBeNull();
  expect(guard.use("a1", NOON)).toMatchObject({ requests: 1, openCalls: 1 });
  expect(guard.judgeCall("a1", "claude-haiku-4-5")).toMatchObject({ reason: "model" });
  agent.settings.enabled = false;
  expect(guard.judgeCall("a1", MODEL)).toMatchObject({ reason: "disabled" });
  expect(guard.judgeCall("a2", MODEL)).toMatchObject({ reason: "revoked" });
});

test.each(Array.from({ length: 20 }, (_, seed) => [seed]))("caps and budgets hold in any order (seed %i)", (seed) => {
  const random = new Random(seed);
  const caps = {
    requestsPerMinute: 1 + random.int(30),
    inputTokensPerMinute: 1_000 + random.int(20_000),
    outputTokensPerMinute: 1_000 + random.int(20_000),
    dailyBudgetNanoUsd: 1 + random.int(2_000_000),
    monthlyBudgetNanoUsd: 1 + random.int(4_000_000),
  };
  const { guard } = makeGuard(caps);
  type Open = { lease: Lease; input: number; output: number; cost: number; startedAtMs: number };
  type Done = { atMs: number; amount: number };
  const open: Open[] = [];
  const [requests, input, output] = [[] as Done[], [] as Done[], [] as Done[]];
  const spent = new Map<number, number>();
  let [admitted, refused] = [0, 0];
  let nowMs = Date.UTC(2026, 10, 23);
  const within = (done: Done[]) =>
    done.filter(({ atMs }) => atMs > nowMs - 60_000).reduce((sum, { amount }) => sum + amount, 0);

  const end = (call: Open) => {
    const share = random.next();
    if (share < 0.1) return call.lease.release();
    const [use, cost] = [Math.floor(call.input * random.next()), Math.floor(call.cost * random.next())];
    const wrote = Math.floor(call.output * random.next());
    const full = share < 0.5;
    const actual = {
      inputTokens: full ? call.input : use,
      outputTokens: full ? call.output : wrote,
      costNanoUsd: full ? call.cost : cost,
    };
    call.lease.settle({ ...actual, nowMs });
    requests.push({ atMs: call.startedAtMs, amount: 1 });
    input.push({ atMs: call.startedAtMs, amount: actual.inputTokens });
    output.push({ atMs: nowMs, amount: actual.outputTokens });
    const day = Math.floor(call.startedAtMs / 86_400_000);
    spent.set(day, (spent.get(day) ?? 0) + actual.costNanoUsd);
  };

  for (let step = 0; step < 2_000; step++) {
    nowMs += random.int(random.pick([2, 200, 20_000, 200_000]));
    if (random.next() < 0.6) {
      const call = { input: random.int(999), output: random.int(999), cost: random.int(50_000), startedAtMs: nowMs };
      const estimate = estimated(call);
      const admission = guard.admit({ agentId: "a1", model: MODEL, estimate, nowMs });
      if (admission.admitted) open.push({ ...call, lease: admission.lease });
      if (admission.admitted) admitted += 1;
      else refused += 1;
    } else {
      const [call] = open.splice(random.int(open.length), 1);
      if (call) end(call);
    }
    const use = guard.use("a1", nowMs);
    expect(use.requests).toBeLessThanOrEqual(caps.requestsPerMinute);
    expect(use.inputTokens).toBeLessThanOrEqual(caps.inputTokensPerMinute);
    expect(use.outputTokens).toBeLessThanOrEqual(caps.outputTokensPerMinute);
    expect(within(requests)).toBeLessThanOrEqual(caps.requestsPerMinute);
    expect(within(input)).toBeLessThanOrEqual(caps.inputTokensPerMinute);
    expect(within(output)).toBeLessThanOrEqual(caps.outputTokensPerMinute);
    for (const cost of spent.values()) expect(cost).toBeLessThanOrEqual(caps.dailyBudgetNanoUsd);
    expect([...spent.values()].reduce((sum, cost) => sum + cost, 0)).toBeLessThanOrEqual(caps.monthlyBudgetNanoUsd);
  }
  for (const call of open.splice(0)) end(call);
  expect(guard.use("a1", nowMs)).toMatchObject({ reservedNanoUsd: 0, openCalls: 0 });
  expect(guard.use("a1", nowMs).spentTodayNanoUsd).toBe(spent.get(Math.floor(nowMs / 86_400_000)) ?? 0);
  expect(admitted).toBeGreaterThan(0);
  expect(refused).toBeGreaterThan(0);
});
