import { createId } from "../../lib/kit/ids.ts";
import { type CallRecord, NO_TOKENS } from "../../lib/usage/schema.ts";

/** A plain successful call, to be changed where a test cares. */
export function callRecord(change: Partial<CallRecord> = {}): CallRecord {
  const startedAt = change.startedAt ?? new Date().toISOString();
  return {
    id: createId(Date.parse(startedAt)),
    startedAt,
    agent: "checkout-bot",
    agentSource: "label",
    agentKeyId: null,
    session: null,
    client: "Anthropic/JS 1.12.0",
    upstream: "default",
    pool: "opus-5.5",
    lane: "standard",
    model: "claude-opus-5-5",
    method: "POST",
    endpoint: "/v1/messages",
    streamed: false,
    status: 200,
    outcome: "succeeded",
    refusal: null,
    errorType: null,
    errorCode: null,
    ...NO_TOKENS,
    webSearchRequests: 0,
    costNanoUsd: 0,
    rateLimitHeaders: {},
    latencyMs: 1200,
    ttftMs: 300,
    outputTokensPerSecond: null,
    waitMs: 0,
    traffic: null,
    stopReason: "end_turn",
    serviceTier: "standard",
    speed: null,
    inferenceGeo: null,
    requestId: "req_1",
    cacheHit: false,
    ...change,
  };
}
