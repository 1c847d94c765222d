import { classifyRefusal } from "../anthropic/error-detail.ts";
import type { Lane } from "../anthropic/pools.ts";
import { isBillable, priceUsage } from "../anthropic/prices.ts";
import { billedTokens, NO_USAGE } from "../anthropic/usage.ts";
import { isoTime } from "../kit/clock.ts";
import type { Explanation } from "../traffic/schema.ts";
import type { CallRecord, Refusal } from "../usage/schema.ts";
import type { Attribution } from "./attribution.ts";
import { cleanText } from "./clean-text.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Reading } from "./meter.ts";

/** How a call ended, as the gateway saw it. */
export type Ending =
  /** The answer arrived whole. */
  | { kind: "answered" }
  /** The upstream ended the answer too early, or the client left in its midst. */
  | { kind: "cut" }
  /** The client left before an answer began. */
  | { kind: "abandoned" }
  /** Headroom answered by itself. */
  | { kind: "refused"; refusal: Refusal; errorType: string; errorCode: string | null };

/** Everything known of a call when it ends. */
export type CallFacts = {
  id: string;
  startedAtMs: number;
  attribution: Attribution;
  upstream: string;
  endpoint: Endpoint;
  method: string;
  /** As far as the request said. */
  requested: { model: string | null; pool: string | null; lane: Lane };
  /** Whether the call went out to the upstream. */
  sent: boolean;
  status: number | null;
  streamed: boolean;
  rateLimitHeaders: Record<string, string>;
  requestId: string | null;
  reading: Reading;
  ending: Ending;
  latencyMs: number;
  ttftMs: number | null;
  waitMs: number;
  traffic: Explanation | null;
  /** Answered from memory. */
  cacheHit: boolean;
  /** Of the batch that the call made. */
  batchId: string | null;
};

/** A call's record, priced at the list of the day on which it began. */
export function buildCallRecord(facts: CallFacts): CallRecord {
  const { attribution, reading, ending } = facts;
  const usage = reading.usage ?? NO_USAGE;
  const lane: Lane = usage.serviceTier === "priority" ? "priority" : facts.requested.lane;
  const model = reading.model ?? facts.requested.model;
  const tokens = billedTokens(usage);
  const outputTokens = reading.usage === null ? reading.producedTokens : tokens.outputTokens;
  // Written out: one is made for every call, and spreading costs more than all the rest of it.
  return {
    id: facts.id,
    startedAt: isoTime(facts.startedAtMs),
    agent: attribution.agent,
    agentSource: attribution.agentSource,
    agentKeyId: attribution.agentKeyId,
    session: attribution.session,
    client: attribution.client,
    label: attribution.label,
    userId: attribution.userId,
    clientAgent: attribution.clientAgent,
    upstream: facts.upstream,
    pool: facts.requested.pool,
    lane,
    model: cleanText(model),
    method: facts.method.slice(0, 10),
    endpoint: cleanText(facts.endpoint.path, 500) ?? "/",
    streamed: facts.streamed,
    status: facts.status,
    outcome: outcomeOf(facts),
    refusal: refusalOf(facts, lane),
    errorType: cleanText(ending.kind === "refused" ? ending.errorType : (reading.error?.type ?? null), 100),
    errorCode: cleanText(ending.kind === "refused" ? ending.errorCode : (reading.error?.code ?? null), 100),
    inputTokens: tokens.inputTokens,
    cacheWriteTokens: tokens.cacheWriteTokens,
    cacheWrite5mTokens: tokens.cacheWrite5mTokens,
    cacheWrite1hTokens: tokens.cacheWrite1hTokens,
    cacheReadTokens: tokens.cacheReadTokens,
    outputTokens,
    webSearchRequests: usage.webSearchRequests,
    webFetchRequests: usage.webFetchRequests,
    codeExecutionRequests: usage.codeExecutionRequests,
    costNanoUsd: costOf(facts, model),
    rateLimitHeaders: facts.rateLimitHeaders,
    latencyMs: facts.latencyMs,
    ttftMs: facts.ttftMs,
    outputTokensPerSecond: speedOf(facts, outputTokens),
    waitMs: facts.waitMs,
    traffic: facts.traffic,
    stopReason: cleanText(reading.stopReason, 100),
    serviceTier: cleanText(usage.serviceTier, 50),
    speed: cleanText(usage.speed, 50),
    inferenceGeo: cleanText(usage.inferenceGeo, 50),
    requestId: cleanText(facts.requestId),
    cacheHit: facts.cacheHit,
    batchId: facts.batchId,
  };
}

function outcomeOf({ ending, status, reading, streamed }: CallFacts): CallRecord["outcome"] {
  if (ending.kind === "abandoned") return "canceled";
  if (status === null || (status >= 500 && status !== 529)) return "failed";
  if (status >= 400) return "refused";
  // The upstream's answer was good, and Headroom could not pass it on.
  if (ending.kind === "refused") return "failed";
  // An error event comes after HTTP 200: the answer had begun.
  return ending.kind === "cut" || (streamed && reading.error !== null) ? "partial" : "succeeded";
}

function refusalOf({ ending, status, reading, rateLimitHeaders }: CallFacts, lane: Lane): CallRecord["refusal"] {
  if (ending.kind === "refused") return ending.refusal;
  if (status === null || (status < 400 && reading.error === null)) return null;
  const error = reading.error ?? { type: null, code: null, message: "" };
  // An error event's own type says more than the 200 before it.
  return classifyRefusal(status < 400 ? 500 : status, error, rateLimitHeaders, lane);
}

/**
 * Null where money was or may have been spent that Headroom cannot put a price on: such a call is not free. Zero where
 * nothing is charged: refusals, and endpoints that cost nothing.
 */
function costOf({ endpoint, reading, ending, sent, status, startedAtMs }: CallFacts, model: string | null) {
  // A batch costs with its results, and each of these has a record of its own.
  const isFree = endpoint.kind === "free" || endpoint.kind === "batch";
  const mayCost = !isFree && sent && (status === null ? ending.kind === "abandoned" : status < 400);
  if (!mayCost || (endpoint.kind === "batch_results" && status === null)) return 0;
  if (reading.usage === null) return null;
  const isRefused =
    reading.stopReason === "refusal" || (endpoint.kind === "chat" && reading.stopReason === "content_filter");
  const refusal = !isRefused ? null : reading.hasContent ? "midway" : "before_output";
  if (!isBillable(reading.usage)) return 0;
  return priceUsage({ model, usage: reading.usage, atMs: startedAtMs, refusal });
}

/** Only of streams: a plain answer does not tell when its output began. */
function speedOf({ streamed, latencyMs, ttftMs }: CallFacts, outputTokens: number): number | null {
  if (!streamed || ttftMs === null || outputTokens === 0 || latencyMs <= ttftMs) return null;
  return Math.round((outputTokens / ((latencyMs - ttftMs) / 1000)) * 100) / 100;
}
