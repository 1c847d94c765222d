import { expect, test } from "vitest";
import { classifyRefusal, parseErrorDetail, type RefusalCause } from "../../lib/anthropic/error-detail.ts";

const RATE = "This request would exceed your organization's rate limit of";

test.each<[RefusalCause, number, string | null, string, string | null]>([
  ["requests", 429, "rate_limit_error", `${RATE} 50 requests per minute`, null],
  ["input_tokens", 429, "rate_limit_error", `${RATE} 400,000 input tokens per minute`, null],
  ["output_tokens", 429, "rate_limit_error", `${RATE} 80,000 output tokens per minute`, null],
  ["tokens", 429, "rate_limit_error", `${RATE} 80,000 tokens per minute`, null],
  ["acceleration", 429, "rate_limit_error", "… maximum usage increase rate for input tokens per minute", null],
  ["acceleration", 429, "rate_limit_error", "Slow down", "ramp_limit_exceeded"],
  ["spend_cap", 429, "rate_limit_error", "", "enforced_spend_limit_reached"],
  ["spend_cap", 429, "rate_limit_error", "Your organization has crossed the monthly API usage threshold", null],
  ["contract_spend_cap", 429, "rate_limit_error", "", "contract_spend_limit_reached"],
  ["own_spend_cap", 400, "invalid_request_error", "You have reached your specified API usage limits.", null],
  ["own_spend_cap", 429, "rate_limit_error", "You have reached your specified workspace API usage limits.", null],
  ["windowless", 429, "rate_limit_error", "… your account's rate limit. Please try again later.", null],
  ["windowless", 429, null, "", null],
  ["spend_cap", 402, "billing_error", "", "linked_organization_spend_limit_reached"],
  ["billing", 402, "billing_error", "", null],
  ["billing", 402, "billing_error", "", "linked_organization_billing_unavailable"],
  ["billing", 429, "billing_error", "", null],
  ["overloaded", 529, "overloaded_error", "Overloaded", null],
  ["overloaded", 529, null, "", null],
  ["authentication", 401, "authentication_error", "", null],
  ["permission", 403, "permission_error", "", null],
  ["not_found", 404, "not_found_error", "", null],
  ["too_large", 413, null, "", null],
  ["timeout", 504, "timeout_error", "", null],
  ["timeout", 408, null, "", null],
  ["invalid", 400, "invalid_request_error", "max_tokens: required", null],
  ["invalid", 422, null, "", null],
  ["invalid", 409, "conflict_error", "", null],
  ["too_large", 413, "request_too_large", "", "request_body_too_large_after_decoding"],
  ["overloaded", 200, "overloaded_error", "Overloaded", null],
  ["overloaded", 529, "overloaded_error", "", "compaction_unavailable"],
  ["upstream_fault", 500, "api_error", "", null],
  ["upstream_fault", 503, null, "", null],
])("it is %s: %i %s %j %s", (cause, status, type, message, code) => {
  expect(classifyRefusal(status, { type, code, message })).toBe(cause);
});

test("a 429 that does not say which limiter means the one with nothing left, in its own lane first", () => {
  const error = { type: "rate_limit_error", code: null, message: "Number of concurrent …" };
  const headers = {
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "10",
    "anthropic-ratelimit-input-tokens-limit": "1000",
    "anthropic-ratelimit-input-tokens-remaining": "0",
    "anthropic-fast-output-tokens-limit": "1000",
    "anthropic-fast-output-tokens-remaining": "0",
  };
  expect(classifyRefusal(429, error, headers)).toBe("input_tokens");
  expect(classifyRefusal(429, error, headers, "fast")).toBe("output_tokens");
  expect(classifyRefusal(429, error, { "retry-after": "3" })).toBe("rate_limit");
  expect(classifyRefusal(429, error)).toBe("windowless");
});

test.each([
  ["x-ratelimit-remaining-requests", "requests"],
  ["x-ratelimit-remaining-tokens", "tokens"],
])("at chat/completions an empty %s says that it was %s", (name, cause) => {
  const error = { type: "rate_limit_error", code: null, message: "" };
  expect(classifyRefusal(429, error, { [name]: "0", "retry-after": "3" })).toBe(cause);
});

test("a 429 of a subscription means the window that is spent, unless only the overage is refused", () => {
  const error = {
    type: "rate_limit_error",
    code: null,
    message: "This request would exceed your account's rate limit.",
  };
  const spent = { "anthropic-ratelimit-unified-5h-status": "rejected", "retry-after": "900" };
  expect(classifyRefusal(429, error, spent)).toBe("subscription_window");
  const open = {
    "anthropic-ratelimit-unified-status": "allowed",
    "anthropic-ratelimit-unified-overage-status": "rejected",
  };
  expect(classifyRefusal(429, error, open)).toBe("rate_limit");
});

test("an error body is read with its code; anything else gives nothing", () => {
  const body = { type: "error", error: { type: "rate_limit_error", message: "m", details: { error_code: "c" } } };
  expect(parseErrorDetail(body)).toEqual({ type: "rate_limit_error", code: "c", message: "m" });
  const openAi = { error: { type: "rate_limit_error", code: "c", message: "m", param: null } };
  expect(parseErrorDetail(openAi)).toEqual({ type: "rate_limit_error", code: "c", message: "m" });
  for (const other of [null, "<html>", [], { error: "text" }, { error: { type: 5 } }]) {
    expect(parseErrorDetail(other)).toEqual({ type: null, code: null, message: "" });
  }
});
