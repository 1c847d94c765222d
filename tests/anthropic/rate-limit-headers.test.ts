import { expect, test } from "vitest";
import { parseRateLimitHeaders, rateLimitHeaderValues } from "../../lib/anthropic/rate-limit-headers.ts";

const RAW = [
  ["Anthropic-RateLimit-Requests-Limit", "1000"],
  ["anthropic-ratelimit-requests-remaining", "999"],
  ["anthropic-ratelimit-requests-reset", "2026-11-23T08:00:01Z"],
  ["anthropic-ratelimit-tokens-limit", "2400000"],
  ["anthropic-ratelimit-tokens-remaining", "2399000"],
  ["anthropic-ratelimit-tokens-reset", "2026-11-23T08:00:01Z"],
  ["anthropic-priority-input-tokens-limit", "10000"],
  ["anthropic-priority-input-tokens-remaining", "0"],
  ["anthropic-priority-input-tokens-reset", "1795420800"],
  ["anthropic-fast-output-tokens-limit", "80000"],
  ["anthropic-ratelimit-unified-5h-utilization", "0.42"],
  ["anthropic-ratelimit-unified-status", "allowed_warning"],
  ["retry-after", "12"],
  ["anthropic-organization-id", "not-a-limit"],
  ["x-ratelimit-limit-requests", "5"],
].flat();

test("every limit header is kept as sent, and nothing else", () => {
  const values = rateLimitHeaderValues(RAW);
  expect(Object.keys(values)).toHaveLength(13);
  expect(values).toMatchObject({
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-unified-5h-utilization": "0.42",
    "retry-after": "12",
  });
});

test("standard, priority and fast limits are read with their lane, limiter and reset", () => {
  expect(parseRateLimitHeaders(rateLimitHeaderValues(RAW))).toEqual([
    { lane: "standard", limiter: "requests", limit: 1000, remaining: 999, resetAt: "2026-11-23T08:00:01Z" },
    { lane: "standard", limiter: "tokens", limit: 2_400_000, remaining: 2_399_000, resetAt: "2026-11-23T08:00:01Z" },
    { lane: "priority", limiter: "input_tokens", limit: 10_000, remaining: 0, resetAt: "2026-11-23T08:00:00.000Z" },
    { lane: "fast", limiter: "output_tokens", limit: 80_000, remaining: null, resetAt: null },
  ]);
});

test.each([
  ["", null],
  ["-5", null],
  ["1e9", null],
  ["12 ", null],
  ["99999999999999999999", null],
])("a limit of %j is none", (limit) => {
  expect(parseRateLimitHeaders({ "anthropic-ratelimit-requests-limit": limit })).toEqual([]);
});

test("a reset that is no time is unknown", () => {
  const values = {
    "anthropic-ratelimit-requests-limit": "5",
    "anthropic-ratelimit-requests-reset": "2026-99-99T99:99Z",
  };
  expect(parseRateLimitHeaders(values)).toMatchObject([{ resetAt: null }]);
});
