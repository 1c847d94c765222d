import { describe, expect, onTestFinished, test } from "vitest";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { AGENT_KEY, DOORS, openDoor } from "../support/gateway.ts";
import { startUpstream } from "../support/upstream.ts";

const CHAT = "/v1/chat/completions";

function chunk(more: object): string {
  return `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", model: "claude-opus-5-5", ...more })}\n\n`;
}

function choice(delta: object, finish: string | null = null) {
  return { choices: [{ index: 0, delta, finish_reason: finish }] };
}

const USAGE = { prompt_tokens: 1000, completion_tokens: 50, total_tokens: 1050 };

describe.each(DOORS)("through the %s door", (door) => {
  async function meter(path: string, body: string, options: { type?: string; request?: object } = {}) {
    const upstream = await startUpstream((res) => {
      res.writeHead(200, {
        "content-type": options.type ?? "application/json",
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "999",
        "x-ratelimit-reset-requests": "2026-11-23T08:00:00Z",
      });
      res.end(body);
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);
    const request = { model: "claude-opus-5-5", max_tokens: 10, ...options.request };
    const answer = await fetch(gateway.url + path, { method: "POST", body: JSON.stringify(request) });
    expect(await answer.text()).toBe(body);
    return { record: await gateway.records.only(), live: gateway.live, observed: gateway.observed };
  }

  test("a plain chat answer is counted and priced by its model, and its limit headers are kept", async () => {
    const body = JSON.stringify({
      ...{ id: "c", model: "claude-opus-5-5", object: "chat.completion", usage: USAGE },
      choices: [{ index: 0, message: { role: "assistant", content: "]}" }, finish_reason: "stop" }],
    });
    const { record, live, observed } = await meter(CHAT, body);
    expect(record).toMatchObject({
      ...{ endpoint: CHAT, model: "claude-opus-5-5", pool: "opus-5.5", stopReason: "stop", outcome: "succeeded" },
      ...{ inputTokens: 1000, outputTokens: 50, costNanoUsd: 1000 * 4_000 + 50 * 20_000 },
      rateLimitHeaders: {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "999",
        "x-ratelimit-reset-requests": "2026-11-23T08:00:00Z",
      },
    });
    expect(live.map(({ kind }) => kind)).toEqual(["open", "close"]);
    expect(observed).toEqual([]);
  });

  test("a chat stream that brings usage is counted by it; one that does not is unpriced, never free", async () => {
    const start = chunk(choice({ role: "assistant", content: "" })) + chunk(choice({ content: "Hi" }));
    const end = chunk(choice({}, "stop"));
    const usage = chunk({ choices: [], usage: USAGE });
    const done = "data: [DONE]\n\n";
    const type = "text/event-stream";
    const counted = await meter(CHAT, start + end + usage + done, { type, request: { stream: true } });
    const whole = { streamed: true, outcome: "succeeded", stopReason: "stop", model: "claude-opus-5-5" };
    expect(counted.record).toMatchObject({ ...whole, inputTokens: 1000, outputTokens: 50, costNanoUsd: 5_000_000 });
    const silent = await meter(CHAT, start + end + done, { type });
    expect(silent.record).toMatchObject({ ...whole, inputTokens: 0, outputTokens: 1, costNanoUsd: null });
    const cut = await meter(CHAT, start, { type });
    expect(cut.record).toMatchObject({ outcome: "partial", outputTokens: 1, costNanoUsd: null });
  });

  test("output that nobody counted is estimated by what was produced: text, and the arguments of tool calls", async () => {
    const type = "text/event-stream";
    const tool = { index: 0, id: "t", function: { name: "look", arguments: "x".repeat(60) } };
    const parts = [{ role: "assistant", content: "" }, { content: "é".repeat(16) }, { tool_calls: [tool] }];
    const cut = await meter(CHAT, parts.map((delta) => chunk(choice(delta))).join(""), { type });
    expect(cut.record).toMatchObject({ outcome: "partial", inputTokens: 0, outputTokens: 30, costNanoUsd: null });
    const plain = JSON.stringify({ completion: "x".repeat(320), stop_reason: "stop_sequence", model: "claude-opus-5" });
    const { record } = await meter("/v1/complete", plain);
    expect(record).toMatchObject({ outcome: "succeeded", outputTokens: 100, costNanoUsd: null });
  });

  test("an error in the midst of a chat stream is told by its type", async () => {
    const error = `data: ${JSON.stringify({ error: { type: "overloaded_error", message: "Overloaded", code: null } })}\n\n`;
    const { record } = await meter(CHAT, chunk(choice({ content: "Hi" })) + error, { type: "text/event-stream" });
    expect(record).toMatchObject({ outcome: "partial", refusal: "overloaded", errorType: "overloaded_error" });
  });

  test("what was filtered before any output costs nothing", async () => {
    const filtered = (content: string | null) =>
      JSON.stringify({
        ...{ model: "claude-opus-5-5", usage: USAGE },
        choices: [{ message: { role: "assistant", content }, finish_reason: "content_filter" }],
      });
    expect((await meter(CHAT, filtered(null))).record.costNanoUsd).toBe(0);
    expect((await meter(CHAT, filtered("I will"))).record.costNanoUsd).toBe(5_000_000);
  });

  test.each(["{}", "<html>", `{"usage":null,"choices":5}`, `{"usage":{"prompt_tokens":-1}}`, "[1", ""])(
    "a chat answer of %j is not called free",
    async (body) => {
      expect((await meter(CHAT, body)).record).toMatchObject({ outcome: "succeeded", costNanoUsd: null });
    },
  );

  test("the old endpoint tells its model and how it ended, but no usage: unpriced", async () => {
    const plain = JSON.stringify({
      type: "completion",
      completion: "Hi",
      stop_reason: "stop_sequence",
      model: "claude-opus-5",
    });
    const { record } = await meter("/v1/complete", plain, { request: { model: "claude-opus-5" } });
    expect(record).toMatchObject({
      model: "claude-opus-5",
      pool: "opus-5",
      stopReason: "stop_sequence",
      costNanoUsd: null,
    });
    const event = (stop: string | null) =>
      `event: completion\r\ndata: ${JSON.stringify({ completion: "H", stop_reason: stop, model: "claude-opus-5" })}\r\n\r\n`;
    const stream = await meter("/v1/complete", event(null) + event("max_tokens"), { type: "text/event-stream" });
    expect(stream.record).toMatchObject({ outcome: "succeeded", stopReason: "max_tokens", costNanoUsd: null });
    const cut = await meter("/v1/complete", event(null), { type: "text/event-stream" });
    expect(cut.record).toMatchObject({ outcome: "partial", costNanoUsd: null });
  });

  test("against the simulator plain and streamed answers agree with its own books", async () => {
    const simulator = await startSimulator({ encoding: "gzip" });
    onTestFinished(simulator.close);
    const gateway = await openDoor(door, simulator.url);
    onTestFinished(gateway.close);
    for (const stream of [false, true]) {
      const answer = await fetch(gateway.url + CHAT, {
        method: "POST",
        headers: { authorization: `Bearer ${AGENT_KEY}`, "content-type": "application/json" },
        body: JSON.stringify({
          ...{ model: "claude-sonnet-4-6", max_tokens: 100, stream },
          ...(stream ? { stream_options: { include_usage: true } } : {}),
          messages: [{ role: "user", content: "Say hello." }],
        }),
      });
      expect(answer.status).toBe(200);
      await answer.text();
    }
    await simulator.idle();
    const rows = await gateway.records.atLeast(2);
    expect(rows.map((row) => [row.inputTokens, row.outputTokens])).toEqual(
      simulator.ledger.entries.map(({ usage }) => [usage.inputTokens, usage.output]),
    );
    expect(rows.map((row) => row.costNanoUsd)).toEqual(
      rows.map((row) => row.inputTokens * 3_000 + row.outputTokens * 15_000),
    );
    expect(rows.map((row) => row.rateLimitHeaders)).toEqual(
      simulator.ledger.entries.map(({ rateLimitHeaders }) => rateLimitHeaders),
    );
    expect(rows[0]?.rateLimitHeaders).toHaveProperty("x-ratelimit-limit-requests");
  });
});
