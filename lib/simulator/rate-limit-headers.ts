import type { Bucket } from "./bucket.ts";
import type { MeterLimiter, PoolMeter } from "./pool-meter.ts";

/**
 * The rate-limit headers of one answer, as the API writes them: requests whole, tokens rounded to the nearest thousand,
 * `reset` the second in which the bucket will be full. A limiter that refused the call shows 0 whatever it still holds.
 */
export function rateLimitHeaders(
  meter: PoolMeter,
  nowMs: number,
  refused: readonly MeterLimiter[] = [],
): Record<string, string> {
  const { requests, input_tokens: input, output_tokens: output } = meter.buckets;
  const inputLeft = refused.includes("input_tokens") ? 0 : left(input);
  const outputLeft = refused.includes("output_tokens") ? 0 : left(output);
  const inputReset = resetAt(input, nowMs);
  const outputReset = resetAt(output, nowMs);
  return {
    "anthropic-ratelimit-requests-limit": String(requests.limit),
    "anthropic-ratelimit-requests-remaining": String(refused.includes("requests") ? 0 : Math.floor(left(requests))),
    "anthropic-ratelimit-requests-reset": resetAt(requests, nowMs),
    "anthropic-ratelimit-input-tokens-limit": String(input.limit),
    "anthropic-ratelimit-input-tokens-remaining": thousands(inputLeft),
    "anthropic-ratelimit-input-tokens-reset": inputReset,
    "anthropic-ratelimit-output-tokens-limit": String(output.limit),
    "anthropic-ratelimit-output-tokens-remaining": thousands(outputLeft),
    "anthropic-ratelimit-output-tokens-reset": outputReset,
    // The most restrictive token limit in force; without a tighter workspace limit that is input + output.
    "anthropic-ratelimit-tokens-limit": String(input.limit + output.limit),
    "anthropic-ratelimit-tokens-remaining": thousands(inputLeft + outputLeft),
    "anthropic-ratelimit-tokens-reset": input.msUntilFull > output.msUntilFull ? inputReset : outputReset,
  };
}

/** The `anthropic-fast-*` or `anthropic-priority-*` headers: tokens only. */
export function laneHeaders(
  lane: "fast" | "priority",
  meter: PoolMeter,
  nowMs: number,
  refused: readonly MeterLimiter[] = [],
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const limiter of ["input_tokens", "output_tokens"] as const) {
    const bucket = meter.buckets[limiter];
    const name = `anthropic-${lane}-${limiter === "input_tokens" ? "input" : "output"}-tokens`;
    headers[`${name}-limit`] = String(bucket.limit);
    headers[`${name}-remaining`] = refused.includes(limiter) ? "0" : thousands(left(bucket));
    headers[`${name}-reset`] = resetAt(bucket, nowMs);
  }
  return headers;
}

function left(bucket: Bucket): number {
  return Math.max(0, bucket.level);
}

function thousands(tokens: number): string {
  return String(Math.round(tokens / 1_000) * 1_000);
}

/**
 * RFC 3339 in whole seconds, `2026-11-22T10:00:00Z`: the second of `Date` for a full bucket, else the first by whose
 * beginning it will be full.
 */
function resetAt(bucket: Bucket, nowMs: number): string {
  const ms = bucket.msUntilFull;
  return formatSecond(ms === 0 ? Math.floor(nowMs / 1_000) : Math.ceil((nowMs + ms) / 1_000));
}

let formatted = { second: Number.NaN, text: "" };

/** Several resets of one answer mostly fall into the same second, so the last one is kept. */
function formatSecond(second: number): string {
  if (formatted.second !== second) {
    formatted = { second, text: `${new Date(second * 1_000).toISOString().slice(0, 19)}Z` };
  }
  return formatted.text;
}
