import { expect, test } from "vitest";
import { parseRateLimitHeaders, rateLimitHeaderValues } from "../../lib/anthropic/rate-limit-headers.ts";
import { parseUnifiedWindows } from "../../lib/anthropic/unified-windows.ts";

const HEADERS = {
  "anthropic-ratelimit-unified-status": "allowed_warning",
  "anthropic-ratelimit-unified-reset": "1795420800",
  "anthropic-ratelimit-unified-representative-claim": "five_hour",
  "anthropic-ratelimit-unified-fallback": "available",
  "anthropic-ratelimit-unified-5h-utilization": "0.82",
  "anthropic-ratelimit-unified-5h-reset": "1795420800",
  "anthropic-ratelimit-unified-5h-status": "allowed_warning",
  "anthropic-ratelimit-unified-5h-surpassed-threshold": "0.75",
  "anthropic-ratelimit-unified-7d-utilization": "0.1",
  "anthropic-ratelimit-unified-7d-reset": "2026-11-30T08:00:00Z",
  "anthropic-ratelimit-unified-7d-status": "allowed",
  "anthropic-ratelimit-unified-7d_oi-utilization": "1.25",
  "anthropic-ratelimit-unified-overage-status": "rejected",
  "anthropic-ratelimit-unified-overage-disabled-reason": "out_of_credits",
  "anthropic-ratelimit-unified-overage-period-monthly-utilization": "0.9",
  "anthropic-ratelimit-unified-grace-5h-utilization": "0.5",
  "anthropic-ratelimit-unified-slow-budget-utilization": "0.4",
};

test("each window has its share, its end and its state; Unix seconds and ISO times are both understood", () => {
  expect(parseUnifiedWindows(HEADERS)).toEqual({
    status: "allowed_warning",
    resetAt: "2026-11-23T08:00:00.000Z",
    representative: "five_hour",
    overageDisabledReason: "out_of_credits",
    windows: [
      {
        window: "five_hour",
        utilisation: 0.82,
        resetAt: "2026-11-23T08:00:00.000Z",
        status: "allowed_warning",
        surpassedThreshold: 0.75,
      },
      {
        window: "seven_day",
        utilisation: 0.1,
        resetAt: "2026-11-30T08:00:00.000Z",
        status: "allowed",
        surpassedThreshold: null,
      },
      {
        window: "seven_day_overage_included",
        utilisation: 1.25,
        resetAt: null,
        status: null,
        surpassedThreshold: null,
      },
      { window: "overage", utilisation: null, resetAt: null, status: "rejected", surpassedThreshold: null },
    ],
  });
});

test("windows are never taken for limits per minute, nor these for windows", () => {
  const perMinute = { "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49" };
  expect(parseRateLimitHeaders(HEADERS)).toEqual([]);
  expect(parseUnifiedWindows(perMinute)).toBeNull();
  expect(parseRateLimitHeaders({ ...HEADERS, ...perMinute })).toHaveLength(1);
});

test("a window with a name of its own is kept under it, and what cannot be read is left out", () => {
  const parsed = parseUnifiedWindows({
    "anthropic-ratelimit-unified-30d_fable-utilization": "0.5",
    "anthropic-ratelimit-unified-5h-utilization": "much",
    "anthropic-ratelimit-unified-5h-reset": "soon",
    "anthropic-ratelimit-unified-7d-reset": "1795420800.5",
  });
  expect(parsed?.windows).toMatchObject([
    { window: "30d_fable", utilisation: 0.5 },
    { window: "five_hour", utilisation: null, resetAt: null },
    { window: "seven_day", resetAt: "2026-11-23T08:00:00.000Z" },
  ]);
  expect(parseUnifiedWindows({})).toBeNull();
});

test("every header of the family is kept as sent, and those of chat/completions where they mean something", () => {
  const headers = {
    ...HEADERS,
    "x-ratelimit-limit-requests": "50",
    "x-ratelimit-reset-tokens": "2026-11-23T08:00:00Z",
  };
  const raw = [...Object.entries(headers), ["x-request-id", "r"]].flat();
  expect(rateLimitHeaderValues(raw, { chat: true })).toEqual(headers);
  expect(rateLimitHeaderValues(raw)).toEqual(HEADERS);
});
