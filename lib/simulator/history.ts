import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Alert, Rule } from "../alerts/schema.ts";
import { poolOf } from "../anthropic/pools.ts";
import { priceUsage } from "../anthropic/prices.ts";
import { NO_USAGE } from "../anthropic/usage.ts";
import { createId } from "../kit/ids.ts";
import { type CallRecord, NO_TOKENS, type TokenCounts } from "../usage/schema.ts";
import { DEMO_AGENTS, type DemoAgent } from "./demo-agents.ts";

const HOUR_MS = 3_600_000;
const DAYS = 7;
/** Each agent's calls an hour at the busiest time of a working day. */
const CALLS_PER_HOUR = 18;
const RECENT_MS = 17 * 60_000;
/** When, before now, the storm of refused calls was, and how many there were. */
export const STORM = { hoursAgo: 50, minutes: 18, calls: 640, agent: "nightly-labeller" };

/**
 * Writes a week of earlier calls into a spool folder, from where they reach the database like any others: working days
 * busier than nights, every agent with its own sizes, and one storm of 429s.
 */
export function writeHistory(
  spoolDir: string,
  options: { upstream: string; nowMs: number; random: () => number },
): void {
  const { upstream, nowMs, random } = options;
  const calls: CallRecord[] = [];
  const add = (agent: DemoAgent, fromMs: number, forMs: number, mean: number) => {
    for (let left = poisson(mean, random); left > 0; left--) {
      calls.push(answered(agent, upstream, fromMs + random() * forMs, random));
    }
  };
  for (const agent of DEMO_AGENTS) {
    for (let hour = DAYS * 24; hour > 0; hour--) {
      const fromMs = nowMs - hour * HOUR_MS;
      add(agent, fromMs, HOUR_MS, CALLS_PER_HOUR * busyness(fromMs));
    }
    // What a page shows by the second goes over into the live traffic without a step.
    add(agent, nowMs - RECENT_MS, RECENT_MS, (1.24 * RECENT_MS) / 1000 / agent.everySeconds);
  }
  calls.push(...storm(upstream, nowMs, random));
  calls.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
  mkdirSync(spoolDir, { recursive: true, mode: 0o700 });
  const lines = calls.map((call) => `${JSON.stringify(call)}\n`).join("");
  writeFileSync(join(spoolDir, "calls-00000001.jsonl"), lines, { mode: 0o600 });
}

/** The alert that goes with the storm, long over: the rule fired as it began. */
export function pastAlert(rule: Rule, upstream: string, nowMs: number): Alert {
  const startMs = nowMs - STORM.hoursAgo * HOUR_MS;
  const at = (minutes: number) => new Date(startMs + minutes * 60_000).toISOString();
  const limit = 2_000_000;
  return {
    id: createId(startMs),
    ruleId: rule.id,
    ruleName: rule.name,
    severity: rule.severity,
    state: "resolved",
    upstream,
    pool: "opus-5.5",
    poolName: "Opus 5.5",
    lane: "standard",
    limiter: "input_tokens",
    threshold: rule.threshold,
    utilisation: 0.61,
    used: 0.61 * limit,
    limit,
    limitSource: "header",
    peakUtilisation: 1,
    topAgents: [
      { agent: STORM.agent, share: 0.78 },
      { agent: "contract-reader", share: 0.09 },
      { agent: "code-review", share: 0.06 },
    ],
    pendingSince: at(0.5),
    firedAt: at(0.7),
    recoveringSince: at(STORM.minutes + 1),
    resolvedAt: at(STORM.minutes + 3),
    resolvedReason: "recovered",
  };
}

/** 0.1 at night, 1 around 14:00 UTC, half of it on Saturdays and Sundays. */
function busyness(atMs: number): number {
  const date = new Date(atMs);
  const day = Math.max(0, Math.sin(((date.getUTCHours() - 6) / 16) * Math.PI));
  return (0.1 + 0.9 * day) * (date.getUTCDay() % 6 === 0 ? 0.5 : 1);
}

function answered(agent: DemoAgent, upstream: string, atMs: number, random: () => number): CallRecord {
  const outputTokens = spread(agent.output, random);
  const miss = random() < 0.06;
  const tokens: TokenCounts = {
    inputTokens: spread(agent.fresh, random),
    cacheWriteTokens: miss ? agent.prefix : 0,
    cacheWrite5mTokens: miss ? agent.prefix : 0,
    cacheWrite1hTokens: 0,
    cacheReadTokens: miss ? 0 : agent.prefix,
    outputTokens,
  };
  const ttftMs = 350 + random() * 900;
  const latencyMs = ttftMs + (outputTokens / (55 + random() * 40)) * 1000;
  return {
    ...base(agent, upstream, atMs, random),
    ...tokens,
    costNanoUsd: priceUsage({ model: agent.model, usage: { ...NO_USAGE, ...tokens }, atMs }),
    latencyMs: Math.round(latencyMs),
    ttftMs: agent.streamed ? Math.round(ttftMs) : Math.round(latencyMs),
    outputTokensPerSecond: Math.round((outputTokens / (latencyMs - ttftMs)) * 10_000) / 10,
  };
}

function storm(upstream: string, nowMs: number, random: () => number): CallRecord[] {
  const agent = DEMO_AGENTS.find(({ name }) => name === STORM.agent);
  if (!agent) return [];
  const startMs = nowMs - STORM.hoursAgo * HOUR_MS;
  return Array.from({ length: STORM.calls }, (_, index): CallRecord => {
    const atMs = startMs + (index / STORM.calls) * STORM.minutes * 60_000;
    if (index % 5 < 2) return answered(agent, upstream, atMs, random);
    return {
      ...base(agent, upstream, atMs, random),
      status: 429,
      outcome: "refused",
      refusal: "input_tokens",
      errorType: "rate_limit_error",
      stopReason: null,
      serviceTier: null,
      latencyMs: Math.round(40 + random() * 30),
      ttftMs: 40,
      rateLimitHeaders: { "retry-after": String(Math.ceil(random() * 20)) },
    };
  });
}

function base(agent: DemoAgent, upstream: string, atMs: number, random: () => number): CallRecord {
  const startedMs = Math.floor(atMs);
  return {
    id: createId(startedMs),
    startedAt: new Date(startedMs).toISOString(),
    agent: agent.name,
    agentSource: "label",
    agentKeyId: null,
    session: null,
    client: "Anthropic/JS 1.12.0",
    label: null,
    userId: null,
    clientAgent: null,
    upstream,
    pool: poolOf(agent.model).id,
    lane: "standard",
    model: agent.model,
    method: "POST",
    endpoint: "/v1/messages",
    streamed: agent.streamed,
    status: 200,
    outcome: "succeeded",
    refusal: null,
    errorType: null,
    errorCode: null,
    ...NO_TOKENS,
    webSearchRequests: 0,
    webFetchRequests: 0,
    codeExecutionRequests: 0,
    costNanoUsd: 0,
    rateLimitHeaders: {},
    latencyMs: 0,
    ttftMs: null,
    outputTokensPerSecond: null,
    waitMs: 0,
    traffic: null,
    stopReason: "end_turn",
    serviceTier: "standard",
    speed: null,
    inferenceGeo: null,
    requestId: `req_demo${Math.floor(random() * 1e12).toString(36)}`,
    cacheHit: false,
    batchId: null,
  };
}

/** Around a mean, never below one, with the long tail that answers have. */
function spread(mean: number, random: () => number): number {
  return Math.max(1, Math.round(mean * Math.exp((random() + random() + random() - 1.5) * 0.9)));
}

function poisson(mean: number, random: () => number): number {
  // e^−mean has no digits left for large means; two halves are as good as the whole.
  if (mean > 100) return poisson(mean / 2, random) + poisson(mean / 2, random);
  const floor = Math.exp(-mean);
  let count = 0;
  for (let product = random(); product > floor; product *= random()) count += 1;
  return count;
}
