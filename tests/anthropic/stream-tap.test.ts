import { expect, test } from "vitest";
import { StreamTap } from "../../lib/anthropic/stream-tap.ts";
import { Random } from "../support/random.ts";
import { messageEvents } from "../support/upstream.ts";

const START = {
  input_tokens: 100,
  cache_creation_input_tokens: 3000,
  cache_read_input_tokens: 50_000,
  cache_creation: { ephemeral_5m_input_tokens: 1000, ephemeral_1h_input_tokens: 2000 },
  output_tokens: 2,
  service_tier: "standard",
  inference_geo: "us",
  speed: "fast",
};
const STREAM = messageEvents(["Grüße, ", "data: message_stop\n\n", "event: error\n", "x".repeat(5000)], {
  start: START,
  delta: { output_tokens: 1234, cache_read_input_tokens: null, server_tool_use: { web_search_requests: 3 } },
}).join("");

test("a stream's usage is its first event's, replaced by what the last delta counted", () => {
  const tap = new StreamTap();
  tap.push(Buffer.from(STREAM));
  expect(tap.usage).toEqual({
    inputTokens: 100,
    cacheWriteTokens: 3000,
    cacheWrite5mTokens: 1000,
    cacheWrite1hTokens: 2000,
    cacheReadTokens: 50_000,
    outputTokens: 1234,
    webSearchRequests: 3,
    webFetchRequests: 0,
    codeExecutionRequests: 0,
    serviceTier: "standard",
    speed: "fast",
    inferenceGeo: "us",
    iterations: null,
  });
  expect(tap).toMatchObject({ model: "claude-opus-5-5", stopReason: "end_turn", complete: true, hasContent: true });
});

test("chunk borders at any byte and either line end change nothing", () => {
  const random = new Random(99);
  const whole = outcome(new StreamTap(), [Buffer.from(STREAM)]);
  for (let run = 0; run < 600; run += 1) {
    const bytes = Buffer.from(random.int(2) === 0 ? STREAM : STREAM.replaceAll("\n", "\r\n"));
    const chunks: Buffer[] = [];
    const longest = random.pick([1, 2, 7, 60, 900]);
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + random.int(longest);
      chunks.push(bytes.subarray(at, end));
      at = end;
    }
    expect(outcome(new StreamTap(), chunks)).toEqual(whole);
  }
});

test("a stream cut at any byte gives what was counted before, and never throws", () => {
  const bytes = Buffer.from(STREAM);
  let output = 0;
  for (let end = 0; end <= bytes.length; end += 1) {
    const tap = new StreamTap();
    tap.push(bytes.subarray(0, end));
    expect(tap.complete).toBe(end === bytes.length);
    const estimate = tap.estimate().outputTokens;
    // What is billed never shrinks while more arrives, until the upstream's own count replaces the estimate.
    if (tap.usage.outputTokens < 1234) expect(estimate).toBeGreaterThanOrEqual(output);
    output = estimate;
  }
  expect(output).toBe(1234);
});

test("output that no event has counted is estimated from its bytes, signatures left out", () => {
  const events = messageEvents(["word ".repeat(64)]);
  const tap = new StreamTap();
  tap.push(Buffer.from(events.slice(0, 4).join("")));
  // 320 bytes at 3.2 a token, on top of the one token that message_start counted.
  expect(tap.estimate().outputTokens).toBeGreaterThanOrEqual(99);
  expect(tap.estimate().outputTokens).toBeLessThanOrEqual(103);

  const signed = new StreamTap();
  const signature = {
    type: "content_block_delta",
    index: 0,
    delta: { type: "signature_delta", signature: "A".repeat(900) },
  };
  const text = `event: content_block_delta\ndata: ${JSON.stringify(signature)}\n\n`;
  signed.push(Buffer.from(events[0] ?? ""));
  for (const byte of Buffer.from(text)) signed.push(Buffer.from([byte]));
  signed.push(Buffer.from(text));
  expect(signed.estimate().outputTokens).toBe(1);
});

test("a later delta may raise the prompt, as server tools do, and keeps the split by time to live", () => {
  const tap = new StreamTap();
  tap.push(
    Buffer.from(
      messageEvents([], {
        start: START,
        delta: { input_tokens: 250, cache_creation_input_tokens: 3500, output_tokens: 9 },
      }).join(""),
    ),
  );
  expect(tap.usage).toMatchObject({
    inputTokens: 250,
    cacheWriteTokens: 3500,
    cacheWrite5mTokens: 1500,
    cacheWrite1hTokens: 2000,
    cacheReadTokens: 50_000,
  });
});

test("an error event is read, with its code", () => {
  const tap = new StreamTap();
  const error = {
    type: "error",
    error: { type: "overloaded_error", message: "Overloaded", details: { error_code: "x" } },
  };
  tap.push(Buffer.from(`${messageEvents(["a"])[0]}event: error\ndata: ${JSON.stringify(error)}\n\n`));
  expect(tap.error).toEqual({ type: "overloaded_error", code: "x", message: "Overloaded" });
  expect(tap.complete).toBe(false);
});

test("events without a name, with comments, and of unknown kinds are understood as far as they matter", () => {
  const tap = new StreamTap();
  const text = messageEvents(["hi"])
    .map((event) => event.replace(/^event: .*\n/, ": a comment\nid: 5\n"))
    .join("event: brand_new\ndata: {]]]\n\n");
  tap.push(Buffer.from(text));
  expect(tap).toMatchObject({ complete: true, usage: { inputTokens: 25, outputTokens: 15 } });
});

test("memory stays bounded by one line, whatever comes", () => {
  const tap = new StreamTap();
  const chunk = Buffer.alloc(64 * 1024, "x");
  tap.push(Buffer.from("event: message_start\ndata: "));
  for (let count = 0; count < 64; count += 1) tap.push(chunk);
  tap.push(Buffer.from(`\n\n${messageEvents([]).join("")}`));
  expect(tap).toMatchObject({ complete: true, usage: { inputTokens: 25 } });
});

test("random bytes never throw", () => {
  const random = new Random(3);
  const pieces = [
    "event: ",
    "message_start",
    "data: ",
    "{",
    "}",
    "\n",
    "\n\n",
    "\r\n",
    "error",
    '"usage":',
    "null",
    "\u0000",
  ];
  for (let run = 0; run < 2_000; run += 1) {
    const tap = new StreamTap();
    const text = Array.from({ length: random.int(40) }, () => random.pick(pieces)).join("");
    expect(() => tap.push(Buffer.from(text))).not.toThrow();
  }
});

function outcome(tap: StreamTap, chunks: readonly Buffer[]) {
  for (const chunk of chunks) tap.push(chunk);
  const { usage, model, stopReason, complete, hasContent, error } = tap;
  return { usage, model, stopReason, complete, hasContent, error };
}
