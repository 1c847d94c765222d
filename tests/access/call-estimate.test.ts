import { expect, test } from "vitest";
import { estimateCall } from "../../lib/access/call-estimate.ts";
import { readRequestHead } from "../../lib/anthropic/request-head.ts";

const NOW = Date.UTC(2026, 10, 23);

function estimate(request: object) {
  const body = Buffer.from(JSON.stringify(request));
  return { bytes: body.length, ...estimateCall(body, readRequestHead(body), NOW) };
}

const text = (content: string, more: object = {}) => ({
  ...{ model: "claude-opus-5-5", max_tokens: 1_000, messages: [{ role: "user", content }] },
  ...more,
});

test("a plain call is bounded by its size and max_tokens at the dearest geography", () => {
  const { bytes, inputTokens, maxOutputTokens, worstCaseNanoUsd } = estimate(text("word ".repeat(2_000)));
  expect(inputTokens).toBe(Math.ceil(bytes / 2) + 1_024);
  expect(maxOutputTokens).toBe(1_000);
  expect(worstCaseNanoUsd).toBe(Math.ceil(((inputTokens * 4_000 + 1_000 * 20_000) * 11) / 10));
});

test("a body that caches may write all of its prompt, for as long as it says", () => {
  const block = (ttl: object) => text("x", { system: [{ text: "y", cache_control: { type: "ephemeral", ...ttl } }] });
  const [five, hour] = [estimate(block({})), estimate(block({ ttl: "1h" }))];
  expect(five.worstCaseNanoUsd).toBe(Math.ceil(((five.inputTokens * 5_000 + 1_000 * 20_000) * 11) / 10));
  expect(hour.worstCaseNanoUsd).toBe(Math.ceil(((hour.inputTokens * 8_000 + 1_000 * 20_000) * 11) / 10));
});

test("fast mode, the long-prompt band and web search cost what they cost", () => {
  const fast = estimate(text("x", { speed: "fast" }));
  expect(fast.worstCaseNanoUsd).toBe(Math.ceil(((fast.inputTokens * 8_000 + 1_000 * 40_000) * 11) / 10));
  const haiku = estimate(text("x", { model: "claude-haiku-5-5" }));
  expect(haiku.worstCaseNanoUsd).toBe(Math.ceil(((haiku.inputTokens * 500 + 1_000 * 2_500) * 11) / 10));
  const search = estimate(text("x", { tools: [{ type: "web_search_20250305", name: "web_search" }] }));
  expect(search.worstCaseNanoUsd).toBeGreaterThan(100_000_000);
});

test("an image counts as an image, however many bytes it has, and a document as its bytes", () => {
  const part = (type: string, mediaType: string) => ({
    ...{ type, source: { type: "base64", media_type: mediaType, data: "QUJD".repeat(250_000) } },
  });
  const image = estimate({ ...text("x"), messages: [{ role: "user", content: [part("image", "image/png")] }] });
  expect(image.inputTokens).toBeLessThan(7_000);
  const document = estimate({
    ...text("x"),
    messages: [{ role: "user", content: [part("document", "application/pdf")] }],
  });
  expect(document.inputTokens).toBeGreaterThan(400_000);
});

test("an answer is bounded by whichever name its endpoint has for that, by the largest of several, else by the model", () => {
  const answer = (bounds: object) => estimate({ ...text("x"), max_tokens: undefined, ...bounds }).maxOutputTokens;
  expect(answer({ max_tokens: 7 })).toBe(7);
  expect(answer({ max_completion_tokens: 7 })).toBe(7);
  expect(answer({ max_tokens_to_sample: 7 })).toBe(7);
  expect(answer({ max_tokens: 1, max_completion_tokens: 900 })).toBe(900);
  expect(answer({ max_tokens: null, max_completion_tokens: 7 })).toBe(7);
  expect(answer({ max_tokens: "90000", max_completion_tokens: 7 })).toBe(128_000);
  expect(answer({})).toBe(128_000);
});

test("an image that a chat links to counts as an image", () => {
  const linked = { type: "image_url", image_url: { url: "https://example.com/a.png" } };
  const { bytes, inputTokens } = estimate({ ...text("x"), messages: [{ role: "user", content: [linked, linked] }] });
  expect(inputTokens).toBe(Math.ceil(bytes / 2) + 2 * 5_000 + 1_024);
});

test("no prompt is taken to be longer than a model takes", () => {
  expect(estimate(text("x".repeat(9_000_000))).inputTokens).toBe(1_000_000);
});

test("a model without a price has no bound, and what is no request has none either", () => {
  expect(estimate(text("x", { model: "claude-nobody-9" })).worstCaseNanoUsd).toBeNull();
  expect(estimate([]).worstCaseNanoUsd).toBeNull();
});
