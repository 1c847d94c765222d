import { describe, expect, onTestFinished, test } from "vitest";
import { DOORS, openDoor } from "../support/gateway.ts";
import { messageAnswer, messageEvents, startUpstream } from "../support/upstream.ts";

describe.each(DOORS)("through the %s door", (door) => {
  async function meter(
    body: string,
    options: { type?: string; request?: object; headers?: Record<string, string> } = {},
  ) {
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": options.type ?? "application/json", ...options.headers });
      res.end(body);
    });
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url);
    onTestFinished(gateway.close);
    const request = { model: "claude-opus-5-5", max_tokens: 10, messages: [], ...options.request };
    await (await fetch(`${gateway.url}/v1/messages`, { method: "POST", body: JSON.stringify(request) })).text();
    return { record: await gateway.records.only(), live: gateway.live };
  }

  const usage = {
    input_tokens: 10,
    cache_creation_input_tokens: 300,
    cache_creation: { ephemeral_5m_input_tokens: 100, ephemeral_1h_input_tokens: 200 },
    cache_read_input_tokens: 4000,
    output_tokens: 50,
    service_tier: "standard",
    inference_geo: "us",
    server_tool_use: { web_search_requests: 2, web_fetch_requests: 9, code_execution_requests: 3 },
  };
  const counted = {
    ...{ inputTokens: 10, cacheWriteTokens: 300, cacheWrite5mTokens: 100, cacheWrite1hTokens: 200 },
    ...{ cacheReadTokens: 4000, outputTokens: 50 },
    ...{ webSearchRequests: 2, webFetchRequests: 9, codeExecutionRequests: 3 },
    ...{ serviceTier: "standard", inferenceGeo: "us", stopReason: "end_turn" },
    costNanoUsd: ((10 * 4_000 + 100 * 5_000 + 200 * 8_000 + 4000 * 200 + 50 * 20_000) * 11) / 10 + 20_000_000,
  };

  test("a plain answer's tokens are kept in columns that do not overlap, writes by time to live", async () => {
    const { record } = await meter(JSON.stringify(messageAnswer(usage)));
    expect(record).toMatchObject(counted);
  });

  test("a stream gives the same record as the plain answer", async () => {
    const events = messageEvents(["Hello"], {
      start: { ...usage, output_tokens: 1, server_tool_use: null },
      delta: { output_tokens: 50, server_tool_use: usage.server_tool_use, cache_read_input_tokens: null },
    });
    const { record, live } = await meter(events.join(""), { type: "text/event-stream; charset=utf-8" });
    expect(record).toMatchObject({ ...counted, streamed: true });
    expect(live.map((event) => event.kind)).toEqual(expect.arrayContaining(["open", "prompt", "progress", "close"]));
    expect(live.find((event) => event.kind === "prompt")).toMatchObject({
      tokens: { inputTokens: 10, cacheWriteTokens: 300, cacheReadTokens: 4000 },
    });
    const bytes = live.reduce((sum, event) => sum + (event.kind === "progress" ? event.bytes : 0), 0);
    expect(bytes).toBe(Buffer.byteLength(events.join("")));
  });

  test("advisors and compaction are counted and priced, though the totals leave them out", async () => {
    const iterations = [
      { type: "message", input_tokens: 100, output_tokens: 10, model: null },
      { type: "advisor_message", input_tokens: 20, output_tokens: 5, model: "claude-fable-5-2" },
      { type: "compaction", input_tokens: 1000, output_tokens: 100 },
    ];
    const { record } = await meter(JSON.stringify(messageAnswer({ input_tokens: 100, output_tokens: 10, iterations })));
    expect(record).toMatchObject({
      inputTokens: 1120,
      outputTokens: 115,
      costNanoUsd: 1100 * 4_000 + 110 * 20_000 + 20 * 8_000 + 5 * 40_000,
    });
  });

  test("another model may have answered: it is recorded and priced, while the pool is that of the model asked", async () => {
    const { record } = await meter(JSON.stringify(messageAnswer({ input_tokens: 1000 }, { model: "claude-sonnet-5" })));
    expect(record).toMatchObject({ model: "claude-sonnet-5", pool: "opus-5.5", costNanoUsd: 2_000_000 });
  });

  test("fast mode is a lane of its own, and so is what a Priority Tier commitment served", async () => {
    const fast = await meter(JSON.stringify(messageAnswer({ input_tokens: 1000, speed: "fast" })), {
      request: { speed: "fast" },
    });
    expect(fast.record).toMatchObject({ lane: "fast", speed: "fast", costNanoUsd: 8_000_000 });
    expect(fast.live[0]).toMatchObject({ place: { lane: "fast" } });
    const priority = await meter(JSON.stringify(messageAnswer({ input_tokens: 1000, service_tier: "priority" })));
    expect(priority.record).toMatchObject({ lane: "priority", serviceTier: "priority" });
  });

  test("a refusal before any output costs nothing; one in its midst does", async () => {
    const before = await meter(
      JSON.stringify(messageAnswer({ input_tokens: 1000, output_tokens: 1 }, { content: [], stop_reason: "refusal" })),
    );
    expect(before.record).toMatchObject({ stopReason: "refusal", inputTokens: 1000, costNanoUsd: 0 });
    const events = messageEvents(["I will"], {
      start: { input_tokens: 1000 },
      delta: { output_tokens: 9 },
      stopReason: "refusal",
    });
    const midst = await meter(events.join(""), { type: "text/event-stream" });
    expect(midst.record).toMatchObject({ stopReason: "refusal", costNanoUsd: 4_000_000 + 180_000 });
  });

  test("a model without a known price has no cost, and a pool of its own", async () => {
    const { record } = await meter(JSON.stringify(messageAnswer({ input_tokens: 5 }, { model: "claude-next-1" })), {
      request: { model: "claude-next-1" },
    });
    expect(record).toMatchObject({ model: "claude-next-1", pool: "claude-next-1", inputTokens: 5, costNanoUsd: null });
  });

  test("an answer without usage is not called free", async () => {
    expect((await meter("{}")).record).toMatchObject({ outcome: "succeeded", inputTokens: 0, costNanoUsd: null });
    expect((await meter("<html>")).record).toMatchObject({ costNanoUsd: null });
  });

  test("text from outside is stored trimmed, bounded and without control characters", async () => {
    const { record } = await meter(
      JSON.stringify(messageAnswer({ input_tokens: 1 }, { model: `claude-\u0000\u202e${"x".repeat(500)}` })),
      { request: { model: "\u0000\ud800" }, headers: { "request-id": "r".repeat(900) } },
    );
    expect(record.model).toMatch(/^claude-x{190,193}$/);
    expect(record.requestId).toHaveLength(200);
    expect(JSON.stringify(record)).not.toMatch(/\\u0000|\\ud800/);
  });

  test("no prompt and no answer is in a record", async () => {
    const { record } = await meter(
      JSON.stringify(messageAnswer(usage, { content: [{ type: "text", text: "TOP-SECRET" }] })),
      {
        request: { system: "TOP-SECRET", messages: [{ role: "user", content: "TOP-SECRET" }] },
      },
    );
    expect(JSON.stringify(record)).not.toContain("SECRET");
  });
});
