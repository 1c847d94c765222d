import type { BatchResult } from "../anthropic/batch-result.ts";
import { classifyRefusal, type ErrorDetail } from "../anthropic/error-detail.ts";
import { priceUsage } from "../anthropic/prices.ts";
import { billedTokens, NO_USAGE } from "../anthropic/usage.ts";
import { deriveId } from "../kit/ids.ts";
import type { CallRecord } from "../usage/schema.ts";
import type { Attribution } from "./attribution.ts";
import { cleanText } from "./clean-text.ts";
import { BATCHES } from "./endpoint.ts";

export type BatchFacts = {
  batchId: string;
  /** When the batch was made: results tell no time of their own. */
  createdAtMs: number;
  /** Who made the batch; where that is not known, who fetched the results. */
  attribution: Attribution;
  upstream: string;
};

/**
 * The record of one request of a batch. Id and start follow from the batch and its `custom_id`, so that it is one row
 * however often and by however many instances results are fetched. It belongs to no pool, because batches have capacity
 * of their own, and has no latency that anybody could know. An error's status is the one that a call would have got.
 */
export function buildBatchRecord(result: BatchResult, facts: BatchFacts): CallRecord {
  const { batchId, createdAtMs, attribution, upstream } = facts;
  const { message, error } = result;
  const usage = { ...(message?.usage ?? NO_USAGE), serviceTier: "batch" };
  const { inputTokens, outputTokens, ...tokens } = billedTokens(usage);
  const status = result.type === "succeeded" ? 200 : error ? statusOf(error) : null;
  return {
    id: deriveId(createdAtMs, `${batchId}\n${result.customId}`),
    startedAt: new Date(createdAtMs).toISOString(),
    ...attribution,
    upstream,
    pool: null,
    lane: "standard",
    model: cleanText(message?.model ?? null),
    method: "POST",
    endpoint: BATCHES,
    streamed: false,
    status,
    outcome: outcomeOf(result, status),
    refusal: refusalOf(result, status),
    errorType: result.type === "expired" ? "expired" : cleanText(error?.type ?? null, 100),
    errorCode: cleanText(error?.code ?? null, 100),
    inputTokens,
    ...tokens,
    outputTokens,
    webSearchRequests: usage.webSearchRequests,
    webFetchRequests: usage.webFetchRequests,
    codeExecutionRequests: usage.codeExecutionRequests,
    costNanoUsd: costOf(result, createdAtMs),
    rateLimitHeaders: {},
    latencyMs: 0,
    ttftMs: null,
    outputTokensPerSecond: null,
    waitMs: 0,
    traffic: null,
    stopReason: cleanText(message?.stopReason ?? null, 100),
    serviceTier: usage.serviceTier,
    speed: cleanText(usage.speed, 50),
    inferenceGeo: cleanText(usage.inferenceGeo, 50),
    requestId: null,
    cacheHit: false,
    batchId: cleanText(batchId),
  };
}

function costOf({ type, message }: BatchResult, createdAtMs: number): number | null {
  if (type !== "succeeded") return 0;
  if (message === null) return null;
  const usage = { ...message.usage, serviceTier: "batch" };
  const refusal = message.stopReason !== "refusal" ? null : message.hasContent ? "midway" : "before_output";
  return priceUsage({ model: message.model, usage, atMs: createdAtMs, refusal });
}

/** What expired was not reached within 24 hours: no answer came. */
function outcomeOf({ type }: BatchResult, status: number | null): CallRecord["outcome"] {
  if (type === "succeeded" || type === "canceled") return type;
  return type === "expired" || (status !== null && status >= 500 && status !== 529) ? "failed" : "refused";
}

function refusalOf({ type, error }: BatchResult, status: number | null): CallRecord["refusal"] {
  if (type === "expired") return "timeout";
  return error === null || status === null ? null : classifyRefusal(status, error);
}

const STATUS_BY_TYPE: Readonly<Record<string, number | undefined>> = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
};

function statusOf(error: ErrorDetail): number {
  return (error.type === null ? undefined : STATUS_BY_TYPE[error.type]) ?? 500;
}
