import { expect, onTestFinished, test } from "vitest";
import type { Refusal } from "../../lib/usage/schema.ts";
import { openDoor } from "../support/gateway.ts";
import { startUpstream } from "../support/upstream.ts";

const FAST = { "anthropic-fast-output-tokens-limit": "1000", "anthropic-fast-output-tokens-remaining": "0" };
const WINDOW = {
  "anthropic-ratelimit-unified-status": "rejected",
  "anthropic-ratelimit-unified-5h-status": "rejected",
};
const RETRY = { "retry-after": "7" };

type Case = {
  refusal: Refusal;
  status: number;
  type: string | null;
  message?: string;
  code?: string;
  headers?: Record<string, string>;
  speed?: "fast";
};

test.each<Case>([
  { refusal: "requests", status: 429, type: "rate_limit_error", message: "… 50 requests per minute", headers: RETRY },
  { refusal: "output_tokens", status: 429, type: "rate_limit_error", headers: { ...FAST, ...RETRY }, speed: "fast" },
  { refusal: "acceleration", status: 429, type: "rate_limit_error", code: "ramp_limit_exceeded", headers: RETRY },
  { refusal: "spend_cap", status: 429, type: "rate_limit_error", code: "enforced_spend_limit_reached" },
  { refusal: "contract_spend_cap", status: 429, type: "rate_limit_error", code: "contract_spend_limit_reached" },
  {
    refusal: "own_spend_cap",
    status: 400,
    type: "invalid_request_error",
    message: "You have reached your specified API",
  },
  { refusal: "windowless", status: 429, type: "rate_limit_error", message: "… your account's rate limit." },
  { refusal: "rate_limit", status: 429, type: "rate_limit_error", headers: RETRY },
  { refusal: "subscription_window", status: 429, type: "rate_limit_error", headers: { ...WINDOW, ...RETRY } },
  { refusal: "overloaded", status: 529, type: "overloaded_error" },
  { refusal: "authentication", status: 401, type: "authentication_error" },
  { refusal: "billing", status: 402, type: "billing_error" },
  { refusal: "permission", status: 403, type: "permission_error" },
  { refusal: "not_found", status: 404, type: "not_found_error" },
  { refusal: "too_large", status: 413, type: null },
  { refusal: "invalid", status: 400, type: "invalid_request_error" },
  { refusal: "timeout", status: 504, type: "timeout_error" },
  { refusal: "upstream_fault", status: 500, type: "api_error" },
  { refusal: "upstream_fault", status: 503, type: null },
])("an answer of $status $type ($code $message) is stored as $refusal", async (given) => {
  const { refusal, status, type, message = "", code, headers = {}, speed } = given;
  const upstream = await startUpstream((res) => {
    res.writeHead(status, { "content-type": "application/json", ...headers });
    const details = code ? { details: { error_code: code } } : {};
    res.end(type === null ? "<html>" : JSON.stringify({ type: "error", error: { type, message, ...details } }));
  });
  onTestFinished(upstream.close);
  const { url, records, close } = await openDoor("socket", upstream.url);
  onTestFinished(close);
  const body = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 9, messages: [], ...(speed ? { speed } : {}) });
  expect((await fetch(`${url}/v1/messages`, { method: "POST", body })).status).toBe(status);
  expect(await records.only()).toMatchObject({
    ...{ refusal, status, errorType: type, errorCode: code ?? null, lane: speed ?? "standard", costNanoUsd: 0 },
    outcome: status >= 500 && status !== 529 ? "failed" : "refused",
    rateLimitHeaders: headers,
  });
});

test("what Headroom itself cannot do is a fault of the gateway, and an upstream out of reach one of the upstream", async () => {
  const lost = await openDoor("socket", "http://127.0.0.1:1", { apiKey: null });
  onTestFinished(lost.close);
  const ask = (key: string) =>
    fetch(`${lost.url}/v1/messages`, { method: "POST", headers: { "x-api-key": key }, body: "{}" });
  await ask("hr_test_0123456789");
  await ask("sk-ant-own");
  expect((await lost.records.atLeast(2)).map(({ refusal }) => refusal)).toEqual(["gateway_fault", "upstream_fault"]);
});
