import type { Alert } from "#lib/alerts/schema.ts";
import { type Family, getPool, publishedLimits } from "#lib/anthropic/pools.ts";
import type { LimiterState, PoolState } from "#lib/limits/schema.ts";
import type { AgentUse, Overview, SecondSeries } from "#lib/overview/schema.ts";
import type { CallRecord } from "#lib/usage/schema.ts";

/** busy: one limit nearly reached, an alert firing. stale: headers ceased. failing: neither disk nor database. */
export type Look = "busy" | "calm" | "waiting" | "stale" | "failing";

const SECONDS = 960;
const COLUMNS = ["requests", "input", "cacheWrite", "cacheRead", "output"] as const;
type Column = (typeof COLUMNS)[number];

type PoolPlan = { pool: string; perMinute: Record<Column, number>; agents: Record<string, number> };

const PLANS: PoolPlan[] = [
  {
    pool: "opus-5.5",
    perMinute: { requests: 412, input: 1_090_000, cacheWrite: 600_000, cacheRead: 4_900_000, output: 214_000 },
    agents: {
      "nightly-labeller": 0.46,
      "code-review": 0.27,
      "checkout-bot": 0.11,
      "support-triage": 0.09,
      "docs-search": 0.03,
      "release-notes": 0.02,
      "pr-titles": 0.015,
      "lint-fixer": 0.005,
    },
  },
  {
    pool: "sonnet-5.5",
    perMinute: { requests: 618, input: 820_000, cacheWrite: 300_000, cacheRead: 2_100_000, output: 248_000 },
    agents: { "support-triage": 0.5, "checkout-bot": 0.3, "docs-search": 0.2 },
  },
  {
    pool: "haiku-5.5",
    perMinute: { requests: 233, input: 280_000, cacheWrite: 30_000, cacheRead: 150_000, output: 61_000 },
    agents: { "docs-search": 0.7, "release-notes": 0.3 },
  },
];

/** A made-up gateway whose every value follows from the seed and the second: the same on each run. */
export class OverviewSource {
  #look: Look;
  #atMs: number;
  #seed: number;
  #minutes = new Map<string, number>();

  constructor(look: Look, options: { atMs?: number; seed?: number } = {}) {
    this.#look = look;
    this.#atMs = options.atMs ?? Date.UTC(2026, 10, 23, 8, 41, 7);
    this.#seed = options.seed ?? 1;
  }

  /** Changes what happens from now on, as the first call does to a waiting gateway. */
  become(look: Look): void {
    this.#look = look;
  }

  /** The whole overview, as the first event has it. */
  first(): Overview {
    return this.#build(SECONDS, this.#calls(20).slice(0, 50));
  }

  /** One second later: the last 90 seconds and the new calls. */
  next(): Overview {
    this.#atMs += 1_000;
    this.#minutes.clear();
    return this.#build(90, this.#calls(1));
  }

  #build(seconds: number, calls: CallRecord[]): Overview {
    const waiting = this.#look === "waiting";
    const pools = waiting ? restingPools() : this.#pools();
    return {
      at: new Date(this.#atMs + 400).toISOString(),
      hasCalls: !waiting,
      gateway: this.#gateway(),
      pools,
      series: waiting ? {} : Object.fromEntries(PLANS.map((plan) => [keyOf(plan), this.#series(plan, seconds)])),
      agents: waiting ? [] : this.#agents(),
      calls: waiting ? [] : calls,
      alerts: this.#look === "busy" ? [this.#alert(pools)] : [],
      refusals: waiting ? [] : this.#refusals(),
      queue: this.#queue(),
      cost: {
        todayNanoUsd: waiting ? 0 : 952_450_000_000,
        lastMinuteNanoUsd: waiting ? 0 : 9_420_000_000,
        hoursNanoUsd: waiting ? [0] : [110, 92, 80, 72, 90, 120, 185, 275, 142].map((usd) => usd * 1_000_000_000),
        unpricedCallsToday: this.#look === "failing" ? 3 : 0,
      },
    };
  }

  #gateway(): Overview["gateway"] {
    const failing = this.#look === "failing";
    return {
      version: "0.1.0",
      url: "http://127.0.0.1:3000",
      upstreamUrl: "https://api.anthropic.com",
      upstream: "default",
      database: "embedded",
      databaseReachable: !failing,
      spoolRows: failing ? 1_284 : 0,
      recordingFault: null,
      evaluatedAt: this.#look === "waiting" ? null : new Date(this.#atMs - 2_600).toISOString(),
      openCalls: 14,
      hasAgentCredential: false,
      passThrough: true,
      channels: 0,
      demo: false,
    };
  }

  #noise(key: string, second: number): number {
    let hash = this.#seed * 2_654_435_761 + second * 40_503;
    for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 2_246_822_519);
    hash = Math.imul(hash ^ (hash >>> 15), 3_266_489_917);
    return ((hash ^ (hash >>> 13)) >>> 0) / 4_294_967_296;
  }

  /** Use of one second. A batch on Opus begins five and a half minutes before the start and fills the limit. */
  #use(plan: PoolPlan, column: Column, second: number): number {
    const calm = this.#look === "calm" || this.#look === "failing" ? 0.6 : 1;
    const from = Date.UTC(2026, 10, 23, 8, 35, 30) / 1_000;
    const ramped = plan.pool === "opus-5.5" && column !== "output" && column !== "cacheRead";
    const ramp = ramped ? 0.56 + 0.44 * Math.min(1, Math.max(0, (second - from) / 230)) : 1;
    const slow = 0.93 + 0.14 * this.#noise(`${plan.pool}${column}slow`, Math.floor(second / 40));
    return (plan.perMinute[column] / 60) * ramp * calm * slow * (0.45 + 1.1 * this.#noise(plan.pool + column, second));
  }

  #series(plan: PoolPlan, seconds: number): SecondSeries {
    const end = Math.floor(this.#atMs / 1_000);
    const start = end - seconds + 1;
    const column = (name: Column) =>
      Array.from({ length: seconds }, (_, index) => {
        const value = this.#use(plan, name, start + index);
        return name === "requests" ? Math.round(value) : Math.round(value * 10) / 10;
      });
    return {
      start,
      requests: column("requests"),
      input: column("input"),
      cacheWrite: column("cacheWrite"),
      cacheRead: column("cacheRead"),
      output: column("output"),
    };
  }

  #usedInMinute(plan: PoolPlan, columns: readonly Column[]): number {
    const end = Math.floor(this.#atMs / 1_000);
    const sum = (name: Column) => {
      const key = `${plan.pool}${name}${end}${this.#look}`;
      const known = this.#minutes.get(key);
      if (known !== undefined) return known;
      let total = 0;
      for (let second = end - 59; second <= end; second++) total += this.#use(plan, name, second);
      this.#minutes.set(key, total);
      return total;
    };
    return columns.reduce((total, name) => total + sum(name), 0);
  }

  #pools(): PoolState[] {
    return [
      ...PLANS.map((plan, index) =>
        this.#pool(plan, this.#look === "stale" && index > 0 ? "stale" : "live", [0.4, 0.2, 1.1][index] ?? 1),
      ),
      {
        ...restingPool("fable-5.x"),
        state: "idle" as const,
        lastCallAt: new Date(this.#atMs - 6 * 3_600_000).toISOString(),
      },
      ...["opus-5", "sonnet-5", "haiku-4.5"].map(restingPool),
    ];
  }

  #pool(plan: PoolPlan, state: PoolState["state"], ageSeconds: number): PoolState {
    const resting = restingPool(plan.pool);
    const heard = this.#atMs + 400 - (state === "stale" ? 240_000 : ageSeconds * 1_000);
    const columns = {
      requests: ["requests"],
      input_tokens: ["input", "cacheWrite"],
      output_tokens: ["output"],
    } as const;
    const limiters = resting.limiters.map((limiter): LimiterState => {
      const name = limiter.limiter as keyof typeof columns;
      const seen = Math.round(this.#usedInMinute(plan, columns[name]));
      const used = plan.pool === "opus-5.5" && name === "input_tokens" && this.#look === "busy" ? seen + 52_000 : seen;
      const utilisation = used / limiter.limit;
      return {
        ...limiter,
        remaining: limiter.limit - used,
        usedLastMinute: seen,
        used,
        utilisation,
        source: "header",
        observedAt: new Date(heard).toISOString(),
        resetAt: new Date(this.#atMs + 60_000 * utilisation).toISOString(),
        secondsToLimit: state === "live" ? bandOf(plan, name, utilisation) : null,
        secondsToFull: 60 * utilisation,
      };
    });
    return { ...resting, state, openCalls: 5, lastCallAt: new Date(heard).toISOString(), limiters };
  }

  #agents(): AgentUse[] {
    const agents = new Map<string, AgentUse>();
    for (const plan of PLANS) {
      for (const [agent, share] of Object.entries(plan.agents)) {
        const use = (columns: readonly Column[]) => Math.round(this.#usedInMinute(plan, columns) * share);
        const known = agents.get(agent) ?? {
          agent,
          calls: 0,
          countedInput: 0,
          cacheRead: 0,
          output: 0,
          refused: agent === "nightly-labeller" && this.#look === "busy" ? 2 : 0,
          pools: {},
          costTodayNanoUsd: Math.round(share * 430_000_000_000),
        };
        known.calls += use(["requests"]);
        known.countedInput += use(["input", "cacheWrite"]);
        known.cacheRead += use(["cacheRead"]);
        known.output += use(["output"]);
        known.pools[keyOf(plan)] = {
          requests: use(["requests"]),
          input_tokens: use(["input", "cacheWrite"]),
          output_tokens: use(["output"]),
        };
        agents.set(agent, known);
      }
    }
    return [...agents.values()].sort((a, b) => b.countedInput - a.countedInput);
  }

  #calls(seconds: number): CallRecord[] {
    const end = Math.floor(this.#atMs / 1_000);
    const calls: CallRecord[] = [];
    for (let second = end; second > end - seconds; second--) {
      for (let place = 0; place < 3; place++) calls.push(this.#call(second, place));
    }
    return calls;
  }

  #call(second: number, place: number): CallRecord {
    const pick = (key: string) => this.#noise(`${key}${place}`, second);
    const plan = PLANS[Math.floor(pick("plan") * PLANS.length)] ?? (PLANS[0] as PoolPlan);
    const agents = Object.keys(plan.agents);
    const refused = pick("refused") > 0.96;
    const latencyMs = Math.round(900 + pick("latency") * 14_000);
    const id = `0199a${String(second).slice(-3)}-${String(second).slice(-4)}-7${String(place).padStart(3, "0")}-8000-${String(second).padStart(12, "0")}`;
    return {
      id,
      startedAt: new Date(second * 1_000 - latencyMs).toISOString(),
      agent: agents[Math.floor(pick("agent") * agents.length)] ?? "unknown",
      agentSource: "label",
      agentKeyId: null,
      session: null,
      client: "Anthropic/JS 1.12.0",
      label: null,
      userId: null,
      clientAgent: null,
      upstream: "default",
      pool: plan.pool,
      lane: "standard",
      model: getPool(plan.pool).models[0] ?? null,
      method: "POST",
      endpoint: "/v1/messages",
      streamed: true,
      status: refused ? 429 : 200,
      outcome: refused ? "refused" : "succeeded",
      refusal: refused ? "input_tokens" : null,
      errorType: refused ? "rate_limit_error" : null,
      errorCode: null,
      inputTokens: refused ? 0 : Math.round(pick("input") * 9_000),
      cacheWriteTokens: refused ? 0 : Math.round(pick("write") ** 3 * 12_000),
      cacheWrite5mTokens: 0,
      cacheWrite1hTokens: 0,
      cacheReadTokens: refused ? 0 : Math.round(pick("read") ** 2 * 90_000),
      outputTokens: refused ? 0 : Math.round(30 + pick("output") * 1_800),
      webSearchRequests: 0,
      webFetchRequests: 0,
      codeExecutionRequests: 0,
      costNanoUsd: refused ? 0 : Math.round(pick("cost") * 300_000_000),
      rateLimitHeaders: {},
      latencyMs,
      ttftMs: refused ? null : Math.round(latencyMs * (0.1 + 0.2 * pick("ttft"))),
      outputTokensPerSecond: refused ? null : 90,
      waitMs: 0,
      traffic: null,
      stopReason: refused ? null : "end_turn",
      serviceTier: null,
      speed: null,
      inferenceGeo: null,
      requestId: `req_${id.slice(-12)}`,
      cacheHit: false,
      batchId: null,
    };
  }

  #alert(pools: PoolState[]): Alert {
    const limiter = pools[0]?.limiters.find((entry) => entry.limiter === "input_tokens");
    return {
      id: "0199a3c1-0000-7000-8000-000000000001",
      ruleId: "0199a3c1-0000-7000-8000-000000000002",
      ruleName: "Headroom over 80 %",
      severity: "warning",
      state: "firing",
      upstream: "default",
      pool: "opus-5.5",
      poolName: "Opus 5.5",
      lane: "standard",
      limiter: "input_tokens",
      threshold: 0.8,
      utilisation: limiter?.utilisation ?? 0,
      used: Math.round(limiter?.used ?? 0),
      limit: limiter?.limit ?? 0,
      limitSource: "header",
      peakUtilisation: 0.88,
      topAgents: [{ agent: "nightly-labeller", share: 0.46 }],
      pendingSince: "2026-11-23T08:39:24.000Z",
      firedAt: "2026-11-23T08:39:54.000Z",
      recoveringSince: null,
      resolvedAt: null,
    };
  }

  #queue(): Overview["queue"] {
    const busy = this.#look === "busy";
    return [
      { class: "critical", waiting: 0, oldestWaitS: 0, p95WaitS: 0 },
      { class: "high", waiting: 0, oldestWaitS: 0, p95WaitS: 0.2 },
      { class: "normal", waiting: busy ? 3 : 0, oldestWaitS: busy ? 1.4 : 0, p95WaitS: 1.9 },
      { class: "low", waiting: busy ? 38 : 0, oldestWaitS: busy ? 52 : 0, p95WaitS: busy ? 47 : null },
    ];
  }

  #refusals(): Overview["refusals"] {
    const minutes = (marks: Record<number, number>) => Array.from({ length: 60 }, (_, minute) => marks[minute] ?? 0);
    return [
      { refusal: "input_tokens", total: 2, minutes: minutes({ 57: 1, 58: 1 }) },
      { refusal: "acceleration", total: 1, minutes: minutes({ 33: 1 }) },
    ];
  }
}

function keyOf(plan: PoolPlan): string {
  return `default/${plan.pool}/standard`;
}

function restingPools(): PoolState[] {
  return ["opus-5.5", "sonnet-5.5", "haiku-5.5"].map(restingPool);
}

function restingPool(id: string): PoolState {
  const { name, family }: { name: string; family: Family } = getPool(id);
  const limits = publishedLimits(id, "start");
  const limiters = (["requests", "input_tokens", "output_tokens"] as const).map(
    (limiter): LimiterState => ({
      limiter,
      limit: limits[limiter] ?? 0,
      remaining: null,
      usedLastMinute: 0,
      used: 0,
      utilisation: 0,
      source: "published",
      observedAt: null,
      resetAt: null,
      secondsToLimit: null,
      secondsToFull: null,
    }),
  );
  return {
    key: `default/${id}/standard`,
    upstream: "default",
    pool: id,
    name,
    family,
    lane: "standard",
    state: "unseen",
    openCalls: 0,
    lastCallAt: null,
    limiters,
  };
}

function bandOf(plan: PoolPlan, limiter: string, utilisation: number): LimiterState["secondsToLimit"] {
  if (plan.pool === "opus-5.5" && limiter === "input_tokens" && utilisation > 0.8) return { min: 36, max: 51 };
  if (plan.pool === "sonnet-5.5" && limiter === "output_tokens" && utilisation > 0.5) return { min: 250, max: 410 };
  return null;
}
