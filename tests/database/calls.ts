import { createId } from "../../lib/kit/ids.ts";
import type { CallRecord } from "../../lib/usage/schema.ts";

export const KEY_A = "0193a000-0000-7000-8000-00000000000a";
export const KEY_B = "0193a000-0000-7000-8000-00000000000b";

/** A call that was answered whole, with everything that is not said. */
export function makeCall(given: Partial<CallRecord> = {}): CallRecord {
  const startedAt = given.startedAt ?? new Date().toISOString();
  return {
    id: createId(Date.parse(startedAt)),
    startedAt,
    agent: "planner",
    agentSource: "label",
    agentKeyId: null,
    session: null,
    client: "Anthropic/JS 1.12.0",
    label: null,
    userId: null,
    clientAgent: null,
    upstream: "main",
    pool: "sonnet-5",
    lane: "standard",
    model: "claude-sonnet-5",
    method: "POST",
    endpoint: "/v1/messages",
    streamed: true,
    status: 200,
    outcome: "succeeded",
    refusal: null,
    errorType: null,
    errorCode: null,
    inputTokens: 100,
    cacheWriteTokens: 30,
    cacheWrite5mTokens: 20,
    cacheWrite1hTokens: 10,
    cacheReadTokens: 400,
    outputTokens: 50,
    webSearchRequests: 1,
    webFetchRequests: 2,
    codeExecutionRequests: 3,
    costNanoUsd: 1_234_567,
    rateLimitHeaders: { "anthropic-ratelimit-requests-limit": "1000" },
    latencyMs: 1234.5,
    ttftMs: 321.25,
    outputTokensPerSecond: 40.5,
    waitMs: 0,
    traffic: null,
    stopReason: "end_turn",
    serviceTier: "standard",
    speed: null,
    inferenceGeo: null,
    requestId: "req_1",
    cacheHit: false,
    batchId: null,
    ...given,
  };
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** `count` varied calls that started within the given span. */
export function makeCalls(count: number, span: { fromMs: number; toMs: number }, seed = 1): CallRecord[] {
  const random = seeded(seed);
  const pick = <Value>(values: readonly Value[]): Value => values[Math.floor(random() * values.length)] as Value;
  return Array.from({ length: count }, () => {
    const outcome = pick(["succeeded", "succeeded", "succeeded", "partial", "refused", "failed", "canceled"] as const);
    const answered = outcome === "succeeded" || outcome === "partial";
    const model = pick(["claude-sonnet-5", "claude-opus-5", "claude-haiku-4-5", null]);
    return makeCall({
      startedAt: new Date(Math.floor(span.fromMs + random() * (span.toMs - span.fromMs))).toISOString(),
      agent: pick(["planner", "reviewer", "writer"]),
      upstream: pick(["main", "second"]),
      model,
      pool: model,
      outcome,
      status: outcome === "refused" ? 429 : outcome === "failed" ? 500 : outcome === "canceled" ? null : 200,
      refusal: outcome === "refused" ? pick(["requests", "input_tokens"]) : null,
      inputTokens: Math.floor(random() * 10_000),
      outputTokens: answered ? Math.floor(random() * 2_000) : 0,
      costNanoUsd: model === null ? null : Math.floor(random() * 1e9),
      latencyMs: Math.round(Math.exp(random() * 11) * 1000) / 1000,
      ttftMs: answered ? Math.round(Math.exp(random() * 8) * 1000) / 1000 : null,
      cacheHit: answered && random() < 0.1,
      client: pick(["Anthropic/JS 1.12.0", "claude-cli/2.1.330", null]),
      agentKeyId: pick([KEY_A, KEY_B, null]),
      label: pick(["crawler", null]),
      userId: pick(["customer-9", "customer-10", null]),
      errorCode: outcome === "refused" ? pick(["headroom_budget", "ramp_limit_exceeded", null]) : null,
    });
  });
}
