import { z } from "zod";
import { Explanation } from "../traffic/schema.ts";

/** Tokens in columns that do not overlap: their sum is the whole prompt and the whole answer. */
export const TokenCounts = z.object({
  inputTokens: z.int().min(0),
  /** All cache writes; the next two are its parts by time to live. */
  cacheWriteTokens: z.int().min(0),
  cacheWrite5mTokens: z.int().min(0),
  cacheWrite1hTokens: z.int().min(0),
  cacheReadTokens: z.int().min(0),
  outputTokens: z.int().min(0),
});
export type TokenCounts = z.infer<typeof TokenCounts>;

export const NO_TOKENS: TokenCounts = {
  inputTokens: 0,
  cacheWriteTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
  cacheReadTokens: 0,
  outputTokens: 0,
};

/**
 * succeeded: answered whole. partial: cut short after the answer began; tokens as far as known. refused: the upstream or
 * Headroom said no (4xx, 429, 529). failed: 5xx or no answer. canceled: the client left before an answer.
 */
export const Outcome = z.enum(["succeeded", "partial", "refused", "failed", "canceled"]);
export type Outcome = z.infer<typeof Outcome>;

/**
 * Why a call was not served. Each wants another reaction, so they are never one number. rate_limit: a 429 that does not
 * say which limit; windowless: one that does not even say when. spend_cap is the usage tier's; the contract's and the
 * organisation's own are apart. The lane says whether a limiter was that of fast mode. agent_*: the caps and budgets that
 * operators set for an agent key, which Headroom keeps; the upstream was not asked.
 */
export const Refusal = z.enum([
  "requests",
  "input_tokens",
  "output_tokens",
  "tokens",
  "rate_limit",
  "windowless",
  "subscription_window",
  "acceleration",
  "spend_cap",
  "contract_spend_cap",
  "own_spend_cap",
  "overloaded",
  "authentication",
  "permission",
  "billing",
  "invalid",
  "not_found",
  "too_large",
  "timeout",
  "upstream_fault",
  "gateway_fault",
  "shed",
  "agent_requests",
  "agent_input_tokens",
  "agent_output_tokens",
  "agent_budget",
]);
export type Refusal = z.infer<typeof Refusal>;

/** One call as it is recorded: spool, database, `/api/calls` and live feed share this shape. No prompt, no answer. */
export const CallRecord = z.object({
  /** A version 7 UUID; with `startedAt` the key that makes a replay harmless. */
  id: z.uuid(),
  startedAt: z.iso.datetime(),
  agent: z.string().max(200),
  agentSource: z.enum(["key", "label", "claude_code", "user_id", "client", "unknown"]),
  agentKeyId: z.uuid().nullable(),
  /** A Claude Code session or another id that the caller gave; for searching, never for access. */
  session: z.string().max(200).nullable(),
  /** The client program, such as `Anthropic/JS 1.12.0`. */
  client: z.string().max(200).nullable(),
  /** `x-headroom-agent`. Like the next two what the caller says, believed or not: never for access. */
  label: z.string().max(200).nullable().default(null),
  /** `metadata.user_id`. */
  userId: z.string().max(200).nullable().default(null),
  /** `x-claude-code-agent-id`: which of a session's agents it is. */
  clientAgent: z.string().max(200).nullable().default(null),
  upstream: z.string().max(100),
  pool: z.string().max(200).nullable(),
  lane: z.enum(["standard", "priority", "fast"]),
  model: z.string().max(200).nullable(),
  method: z.string().max(10),
  /** The path without its query. */
  endpoint: z.string().max(500),
  streamed: z.boolean(),
  /** Null when no answer came. */
  status: z.int().nullable(),
  outcome: Outcome,
  refusal: Refusal.nullable(),
  errorType: z.string().max(100).nullable(),
  errorCode: z.string().max(100).nullable(),
  ...TokenCounts.shape,
  webSearchRequests: z.int().min(0),
  /** Free. */
  webFetchRequests: z.int().min(0).default(0),
  /** Charged by the hour, which no answer tells. */
  codeExecutionRequests: z.int().min(0).default(0),
  /** Integer nano-dollars at the price list of `startedAt`. Null when the model has no known price: never free. */
  costNanoUsd: z.int().min(0).nullable(),
  /** Every `anthropic-ratelimit-*`, `anthropic-priority-*`, `anthropic-fast-*` and `retry-after` header, as sent. */
  rateLimitHeaders: z.record(z.string(), z.string()),
  /** Arrival to the last byte. */
  latencyMs: z.number().min(0),
  /** Arrival to the first byte of the answer's body. */
  ttftMs: z.number().min(0).nullable(),
  outputTokensPerSecond: z.number().min(0).nullable(),
  /** Held by Headroom before sending. */
  waitMs: z.number().min(0),
  /** What traffic control decided and why; null where it was not asked. */
  traffic: Explanation.nullable().default(null),
  stopReason: z.string().max(100).nullable(),
  serviceTier: z.string().max(50).nullable(),
  speed: z.string().max(50).nullable(),
  inferenceGeo: z.string().max(50).nullable(),
  requestId: z.string().max(200).nullable(),
  /** Answered from Headroom's memory: nothing was sent and nothing is billed. `requestId` is the first call's. */
  cacheHit: z.boolean().default(false),
  /** The batch that the call made, or that it is a result of. */
  batchId: z.string().max(200).nullable().default(null),
});
export type CallRecord = z.infer<typeof CallRecord>;

/** What `/api/calls` takes. Times are ISO 8601; the cursor is opaque and comes from the answer before. */
export const CallsQuery = z.object({
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  agent: z.string().optional(),
  upstream: z.string().optional(),
  pool: z.string().optional(),
  model: z.string().optional(),
  outcome: Outcome.optional(),
  refusal: Refusal.optional(),
  status: z.coerce.number().int().optional(),
  session: z.string().optional(),
  client: z.string().optional(),
  agentKeyId: z.uuid().optional(),
  label: z.string().optional(),
  userId: z.string().optional(),
  errorCode: z.string().optional(),
  requestId: z.string().optional(),
  cacheHit: z.stringbool().optional(),
  cursor: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(1000).default(100),
});
export type CallsQuery = z.infer<typeof CallsQuery>;

export const CallsPage = z.object({ calls: z.array(CallRecord), nextCursor: z.string().nullable() });
export type CallsPage = z.infer<typeof CallsPage>;

/** Sums over calls. `refusedCalls` are 429s and 529s; `unpricedCalls` are not in `costNanoUsd`. */
export const UsageSums = z.object({
  calls: z.int(),
  refusedCalls: z.int(),
  failedCalls: z.int(),
  partialCalls: z.int(),
  ...TokenCounts.shape,
  webSearchRequests: z.int(),
  costNanoUsd: z.int(),
  unpricedCalls: z.int(),
});
export type UsageSums = z.infer<typeof UsageSums>;

export const UsageDimension = z.enum(["upstream", "pool", "model", "agent"]);
export type UsageDimension = z.infer<typeof UsageDimension>;

/** What `/api/usage/series` and `/api/usage/totals` take. `from` is included, `to` is not. */
export const UsageQuery = z.object({
  from: z.iso.datetime({ offset: true }),
  to: z.iso.datetime({ offset: true }),
  /** Bucket width in seconds, from 60. Series only. A width from 3,600 reads the hourly rollup. */
  stepSeconds: z.coerce.number().int().min(60).max(31_536_000).default(60),
  groupBy: z.array(UsageDimension).max(4).default([]),
  upstream: z.string().optional(),
  pool: z.string().optional(),
  model: z.string().optional(),
  agent: z.string().optional(),
});
export type UsageQuery = z.infer<typeof UsageQuery>;

const Group = z.partialRecord(UsageDimension, z.string().nullable());

/** Buckets without calls are absent; `at` is a bucket's start. */
export const UsageSeries = z.object({
  stepSeconds: z.int(),
  points: z.array(z.object({ at: z.string(), group: Group, sums: UsageSums })),
});
export type UsageSeries = z.infer<typeof UsageSeries>;

export const UsageTotals = z.object({
  total: UsageSums,
  groups: z.array(z.object({ group: Group, sums: UsageSums })),
});
export type UsageTotals = z.infer<typeof UsageTotals>;
