import { lowerCase } from "../http1/field-names.ts";
import type { Lane, Limiter } from "./pools.ts";

/**
 * The headers in which Anthropic tells what a pool still holds. `remaining` of token limiters is rounded to thousands,
 * `reset` is when the bucket will be full again (not when one more request fits), and the whole describes the pool of
 * the model that was called. Subscription traffic brings `anthropic-ratelimit-unified-*` instead: shares of a window
 * without a limit (unified-windows.ts). `/v1/chat/completions` alone has `x-ratelimit-*`, of requests and all tokens.
 */
export type ObservedLimit = {
  lane: Lane;
  limiter: Limiter;
  limit: number;
  remaining: number | null;
  /** ISO 8601, by the upstream's clock. */
  resetAt: string | null;
};

const FAMILIES: readonly { prefix: string; lane: Lane; limiter: Limiter }[] = [
  { prefix: "anthropic-ratelimit-requests", lane: "standard", limiter: "requests" },
  { prefix: "anthropic-ratelimit-input-tokens", lane: "standard", limiter: "input_tokens" },
  { prefix: "anthropic-ratelimit-output-tokens", lane: "standard", limiter: "output_tokens" },
  { prefix: "anthropic-ratelimit-tokens", lane: "standard", limiter: "tokens" },
  { prefix: "anthropic-priority-input-tokens", lane: "priority", limiter: "input_tokens" },
  { prefix: "anthropic-priority-output-tokens", lane: "priority", limiter: "output_tokens" },
  { prefix: "anthropic-fast-input-tokens", lane: "fast", limiter: "input_tokens" },
  { prefix: "anthropic-fast-output-tokens", lane: "fast", limiter: "output_tokens" },
];

/** Spelled out, so that no header name is put together on the hot path. */
const NAMES = FAMILIES.map((family) => ({
  ...family,
  limitName: `${family.prefix}-limit`,
  remainingName: `${family.prefix}-remaining`,
  resetName: `${family.prefix}-reset`,
}));

const MAX_KEPT = 100;

/**
 * Every rate-limit header of an answer as sent, by lower-case name; the first wins when one comes twice. Takes names and
 * values in turn, as Node's `rawHeaders` has them. `x-ratelimit-*` is kept where asked for: only `/v1/chat/completions`
 * has it, and anywhere else a proxy on the way speaks of itself.
 */
export function rateLimitHeaderValues(
  rawHeaders: readonly string[],
  options: { chat?: boolean } = {},
): Record<string, string> {
  const values: Record<string, string> = {};
  let kept = 0;
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const raw = rawHeaders[at] ?? "";
    // Most headers are something else: the first character settles it.
    const first = raw.charCodeAt(0) | 0x20;
    if (first !== 0x61 && first !== 0x72 && (first !== 0x78 || !options.chat)) continue;
    const name = lowerCase(raw);
    if (!isKept(name) || values[name] !== undefined || kept >= MAX_KEPT) continue;
    values[name] = rawHeaders[at + 1] ?? "";
    kept += 1;
  }
  return values;
}

/** What those headers say of the limiters of each lane. A limiter without a readable limit is left out. */
export function parseRateLimitHeaders(values: Readonly<Record<string, string>>): ObservedLimit[] {
  const observed: ObservedLimit[] = [];
  for (const { lane, limiter, limitName, remainingName, resetName } of NAMES) {
    const limit = parseCount(values[limitName]);
    if (limit === null) continue;
    observed.push({
      lane,
      limiter,
      limit,
      remaining: parseCount(values[remainingName]),
      resetAt: parseTime(values[resetName]),
    });
  }
  return observed;
}

function isKept(name: string): boolean {
  return (
    name.startsWith("anthropic-ratelimit-") ||
    name.startsWith("anthropic-priority-") ||
    name.startsWith("anthropic-fast-") ||
    name.startsWith("x-ratelimit-") ||
    name === "retry-after" ||
    name === "retry-after-ms"
  );
}

function parseCount(value: string | undefined): number | null {
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null;
}

/** Times that need no further look: days up to the 28th exist in every month. */
const RFC_3339 = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z$/;

/** RFC 3339 as documented; Unix seconds are taken too, as the unified family uses them. */
export function parseTime(value: string | undefined): string | null {
  if (value === undefined) return null;
  if (RFC_3339.test(value)) return value;
  if (/^\d{9,11}$/.test(value)) return new Date(Number(value) * 1000).toISOString();
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(value) && !Number.isNaN(Date.parse(value)) ? value : null;
}
