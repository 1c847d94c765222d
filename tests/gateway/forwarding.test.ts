import { randomBytes } from "node:crypto";
import zlib from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { DOORS, openDoor } from "../support/gateway.ts";
import { messageAnswer, messageEvents, startRawUpstream, startUpstream } from "../support/upstream.ts";

const MESSAGES = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 5, messages: [] });

describe.each(DOORS)("through the %s door", (door) => {
  async function open(answer: Parameters<typeof startUpstream>[0], options: Parameters<typeof openDoor>[2] = {}) {
    const upstream = await startUpstream(answer);
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    return { ...gateway, upstream };
  }

  test("a plain call goes out and comes back as it is, and is recorded once with its tokens and cost", async () => {
    const text = JSON.stringify(messageAnswer({ input_tokens: 1000, output_tokens: 100 }));
    const { url, upstream, records } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json", "request-id": "req_1", "x-unknown": "kept" });
      res.end(text);
    });
    const body = `{ "model":"claude-opus-5-5",  "max_tokens":10,"unknown_field":[1],"messages":[] }`;
    const answer = await fetch(`${url}/v1/messages?beta=true`, {
      method: "POST",
      headers: { "x-api-key": "sk-ant-mine", "content-type": "application/json", "anthropic-beta": "a-1,b-2" },
      body,
    });

    expect(await answer.text()).toBe(text);
    expect(answer.headers.get("x-unknown")).toBe("kept");
    const [seen] = upstream.received;
    expect(seen?.body.toString()).toBe(body);
    expect(seen?.target).toBe("/v1/messages?beta=true");
    expect(seen?.headers).toMatchObject({ "x-api-key": "sk-ant-mine", "anthropic-beta": "a-1,b-2" });
    const call = await records.only();
    expect(call).toMatchObject({
      ...{ status: 200, outcome: "succeeded", refusal: null, streamed: false, method: "POST" },
      ...{ model: "claude-opus-5-5", pool: "opus-5.5", lane: "standard", endpoint: "/v1/messages" },
      ...{ inputTokens: 1000, outputTokens: 100, costNanoUsd: 1000 * 4_000 + 100 * 20_000, requestId: "req_1" },
    });
    expect(answer.headers.get("x-headroom-call")).toBe(call.id);
    expect(answer.headers.get("x-headroom-upstream")).toBe("anthropic");
  });

  test("a stream arrives event for event and is recorded before its last chunk is", async () => {
    const events = messageEvents(["Hel", "lo"]);
    const { url, records, gateway } = await open((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of events) res.write(event);
      res.end();
    });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(await answer.text()).toBe(events.join(""));
    expect(records.calls).toHaveLength(1);
    expect(records.calls[0]).toMatchObject({ streamed: true, outcome: "succeeded", inputTokens: 25, outputTokens: 15 });
    expect(gateway.openCalls).toBe(0);
  });

  test("an event reaches the client before the next one is produced", async () => {
    const events = messageEvents(["a", "b"]);
    let produce = () => {};
    const { url } = await open((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      let at = 0;
      produce = () => {
        const event = events[at];
        at += 1;
        if (event === undefined) res.end();
        else res.write(event);
      };
      res.flushHeaders();
    });
    // The head alone comes through before there is any body.
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    const reader = answer.body?.getReader();
    for (const event of events) {
      produce();
      let text = "";
      while (text.length < event.length) text += new TextDecoder().decode((await reader?.read())?.value);
      expect(text).toBe(event);
    }
    produce();
    expect((await reader?.read())?.done).toBe(true);
  });

  test("a 429 comes through byte for byte, with its headers, and says which limiter it was", async () => {
    const text = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 400,000 input tokens per minute"},"request_id":"req_9"}\n `;
    const { url, records, observed } = await open((res) => {
      res.writeHead(429, {
        "content-type": "application/json",
        "retry-after": "17",
        "x-should-retry": "true",
        "anthropic-ratelimit-input-tokens-limit": "400000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-23T08:00:30Z",
        "anthropic-ratelimit-unified-status": "allowed",
      });
      res.end(text);
    });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(answer.status).toBe(429);
    expect(await answer.text()).toBe(text);
    expect(answer.headers.get("retry-after")).toBe("17");
    expect(answer.headers.get("x-should-retry")).toBe("true");
    expect(await records.only()).toMatchObject({
      ...{ outcome: "refused", refusal: "input_tokens", errorType: "rate_limit_error", costNanoUsd: 0 },
      rateLimitHeaders: { "retry-after": "17", "anthropic-ratelimit-unified-status": "allowed" },
    });
    expect(observed).toMatchObject([
      {
        place: { upstream: "anthropic", pool: "opus-5.5", lane: "standard" },
        observed: [{ limiter: "input_tokens", limit: 400_000, remaining: 0, resetAt: "2026-11-23T08:00:30Z" }],
      },
    ]);
  });

  test("a malformed body goes to the upstream as it came, and its 400 comes back", async () => {
    const { url, upstream, records } = await open((res) => {
      res.writeHead(400, { "content-type": "application/json" });
      res.end(`{"type":"error","error":{"type":"invalid_request_error","message":"The body is not valid JSON"}}`);
    });
    const body = `{"model": "claude-opus-5-5", "messages": [ oops`;
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body });
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { message: "The body is not valid JSON" } });
    expect(upstream.received[0]?.body.toString()).toBe(body);
    expect(await records.only()).toMatchObject({ model: "claude-opus-5-5", refusal: "invalid", costNanoUsd: 0 });
  });

  test.each([
    ["POST", "/v1/messages/count_tokens", `{"model":"claude-opus-5-5","messages":[]}`],
    ["GET", "/v1/models?limit=1000", null],
    ["HEAD", "/v1/models", null],
    ["DELETE", "/v1/files/file_1", null],
    ["GET", "/v1/messages/batches/b1", null],
    ["DELETE", "/v1/messages/batches/b1", null],
    ["PUT", "/v1/skills/s1?x=%20y", "a=1"],
  ])("%s %s is forwarded and recorded as free", async (method, target, body) => {
    const { url, upstream, records } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(`{"input_tokens":14}`);
    });
    const answer = await fetch(url + target, { method, body });
    expect(await answer.text()).toBe(method === "HEAD" ? "" : `{"input_tokens":14}`);
    expect(upstream.received[0]).toMatchObject({ method, target });
    expect(upstream.received[0]?.body.toString()).toBe(body ?? "");
    const path = target.split("?")[0];
    expect(await records.only()).toMatchObject({ method, endpoint: path, pool: null, inputTokens: 0, costNanoUsd: 0 });
  });

  test("Claude Code's probe is forwarded and not recorded", async () => {
    const { url, upstream, records } = await open((res) => res.end(), { passThrough: false });
    expect((await fetch(`${url}/api/hello`, { method: "HEAD" })).status).toBe(200);
    expect(upstream.received).toHaveLength(1);
    expect(records.calls).toEqual([]);
  });

  test.each([
    ["gzip", zlib.gzipSync],
    ["deflate", zlib.deflateSync],
    ["br", zlib.brotliCompressSync],
    ["zstd", zlib.zstdCompressSync],
  ] as const)("a %s answer passes compressed as it is and is metered all the same", async (encoding, compress) => {
    const plain = compress(JSON.stringify(messageAnswer({ input_tokens: 4, output_tokens: 2 })));
    const stream = compress(messageEvents(["Hello, ", "compressed ".repeat(200)]).join(""));
    const { url, upstream, records } = await open((res, { headers }) => {
      const bytes = headers["x-want"] === "stream" ? stream : plain;
      const type = headers["x-want"] === "stream" ? "text/event-stream" : "application/json";
      res.writeHead(200, { "content-type": type, "content-encoding": encoding });
      for (let at = 0; at < bytes.length; at += 11) res.write(bytes.subarray(at, at + 11));
      res.end();
    });
    for (const want of ["plain", "stream"]) {
      const answer = await rawRequest(url, { "x-want": want, "accept-encoding": encoding }, MESSAGES);
      expect(answer.headers["content-encoding"]).toBe(encoding);
      expect(answer.body.equals(want === "plain" ? plain : stream)).toBe(true);
    }
    expect(upstream.received[0]?.headers["accept-encoding"]).toBe(encoding);
    expect(await records.atLeast(2)).toMatchObject([
      { inputTokens: 4, outputTokens: 2, outcome: "succeeded" },
      { inputTokens: 25, outputTokens: 15, outcome: "succeeded", streamed: true },
    ]);
  });

  test("a compressed stream is metered whole when the upstream closes its connection right behind it", async () => {
    const bytes = zlib.gzipSync(messageEvents(["Hello, ", "compressed ".repeat(200)]).join(""));
    const upstream = await startRawUpstream((socket) => {
      socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n");
      for (let at = 0; at < bytes.length; at += 7) socket.write(bytes.subarray(at, at + 7));
      socket.end();
    });
    onTestFinished(upstream.close);
    const { url, records, close } = await openDoor(door, upstream.url);
    onTestFinished(close);
    const answer = await rawRequest(url, {}, MESSAGES);
    expect(answer.body.equals(bytes)).toBe(true);
    expect(await records.only()).toMatchObject({ outcome: "succeeded", inputTokens: 25, outputTokens: 15 });
  });

  test("an answer whose encoding is broken or unknown still passes, and is not called free", async () => {
    const bytes = randomBytes(500);
    const { url, records } = await open((res, { headers }) => {
      res.writeHead(200, { "content-type": "application/json", "content-encoding": String(headers["x-want"]) });
      res.end(bytes);
    });
    for (const want of ["gzip", "exotic"]) {
      const answer = await rawRequest(url, { "x-want": want }, MESSAGES);
      expect(answer.body.equals(bytes)).toBe(true);
    }
    expect(await records.atLeast(2)).toMatchObject([
      { outcome: "succeeded", inputTokens: 0, costNanoUsd: null },
      { outcome: "succeeded", inputTokens: 0, costNanoUsd: null },
    ]);
  });

  test("a compressed request goes out as it came, and its model is known all the same", async () => {
    const { url, upstream, live } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify(messageAnswer()));
    });
    const body = zlib.gzipSync(MESSAGES);
    await rawRequest(url, { "content-encoding": "gzip" }, body);
    expect(upstream.received[0]?.body.equals(body)).toBe(true);
    expect(upstream.received[0]?.headers["content-encoding"]).toBe("gzip");
    expect(live[0]).toMatchObject({ kind: "open", place: { pool: "opus-5.5" } });
  });

  test("bodies and answers of megabytes come through whole", async () => {
    const large = randomBytes(6 * 1024 * 1024);
    const { url, upstream } = await open((res) => res.end(large));
    const body = Buffer.from(JSON.stringify({ messages: "é".repeat(3_000_000), model: "claude-opus-5-5" }));
    for (const target of ["/v1/messages", "/v1/files"]) {
      const answer = await fetch(url + target, { method: "POST", body });
      expect(Buffer.from(await answer.arrayBuffer()).equals(large)).toBe(true);
      expect(upstream.received.at(-1)?.body.equals(body)).toBe(true);
    }
  });

  test("a Messages body beyond what the API takes is refused in Anthropic's shape", async () => {
    const { url, upstream, records } = await open((res) => res.end());
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: Buffer.alloc(41 * 1024 * 1024, " ") });
    expect(answer.status).toBe(413);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(await answer.json()).toMatchObject({ type: "error", error: { type: "request_too_large" } });
    expect(upstream.received).toEqual([]);
    expect(await records.only()).toMatchObject({ status: 413, outcome: "refused", refusal: "too_large" });
  });

  test("the base URL of the upstream may have a path", async () => {
    const upstream = await startUpstream((res) => res.end("{}"));
    onTestFinished(upstream.close);
    const { url, close } = await openDoor(door, `${upstream.url}/anthropic/`);
    onTestFinished(close);
    await fetch(`${url}/v1/models?limit=5`);
    expect(upstream.received[0]?.target).toBe("/anthropic/v1/models?limit=5");
  });
});

/** Without the decoding and the extra headers of fetch. */
async function rawRequest(url: string, headers: Record<string, string>, body: string | Buffer) {
  const { request } = await import("undici");
  const answer = await request(`${url}/v1/messages`, { method: "POST", headers, body });
  return { headers: answer.headers, body: Buffer.from(await answer.body.arrayBuffer()) };
}
