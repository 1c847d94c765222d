import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../lib/kit/clock.ts";
import { AGENT_KEY, DOORS, openDoor } from "../support/gateway.ts";
import {
  messageAnswer,
  messageEvents,
  startLiveUpstream,
  startRawUpstream,
  startUpstream,
} from "../support/upstream.ts";

const MESSAGES = JSON.stringify({ model: "claude-opus-5-5", stream: true, max_tokens: 5, messages: [] });

describe.each(DOORS)("through the %s door", (door) => {
  async function open(upstream: { url: string; close(): Promise<void> }, options: Parameters<typeof openDoor>[2] = {}) {
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    return gateway;
  }

  test("when the client leaves in mid-stream the upstream is told at once, and what was produced is recorded", async () => {
    const events = messageEvents(["x".repeat(2000)], {
      start: { input_tokens: 700, cache_read_input_tokens: 9000, output_tokens: 1 },
    });
    const left = Promise.withResolvers<void>();
    const upstream = await startLiveUpstream((req, res) => {
      req.resume();
      res.writeHead(200, { "content-type": "text/event-stream" });
      for (const event of events.slice(0, 4)) res.write(event);
      res.on("close", () => left.resolve());
    });
    const { url, records, gateway, live } = await open(upstream);
    const abort = new AbortController();
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES, signal: abort.signal });
    const reader = answer.body?.getReader();
    let seen = "";
    while (!seen.includes('xxxx"}}')) seen += new TextDecoder().decode((await reader?.read())?.value);
    abort.abort();

    await left.promise;
    const call = await records.only();
    expect(call).toMatchObject({ outcome: "partial", status: 200, inputTokens: 700, cacheReadTokens: 9000 });
    // 2,000 bytes of content that no event counted, at 3.2 bytes a token.
    expect(call.outputTokens).toBeGreaterThan(600);
    expect(call.outputTokens).toBeLessThan(650);
    expect(call.costNanoUsd).toBe(700 * 4_000 + 9000 * 200 + call.outputTokens * 20_000);
    expect(gateway.openCalls).toBe(0);
    expect(live.at(-1)).toMatchObject({ kind: "close" });
  });

  test("when the client leaves before an answer the call is canceled upstream and its cost is not called zero", async () => {
    const arrived = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    const upstream = await startLiveUpstream((req, res) => {
      req.resume();
      req.on("end", () => arrived.resolve());
      res.on("close", () => left.resolve());
    });
    const { url, records, gateway } = await open(upstream);
    const abort = new AbortController();
    const call = fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES, signal: abort.signal });
    await arrived.promise;
    expect(gateway.openCalls).toBe(1);
    abort.abort();
    await expect(call).rejects.toThrow();
    await left.promise;
    expect(await records.only()).toMatchObject({ outcome: "canceled", status: null, refusal: null, costNanoUsd: null });
    expect(gateway.openCalls).toBe(0);
  });

  test("when the client leaves while it uploads the upload ends upstream too", async () => {
    const left = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const upstream = await startLiveUpstream((req) => {
      req.once("data", () => arrived.resolve());
      req.on("error", () => {});
      req.on("close", () => left.resolve());
    });
    const { url, records } = await open(upstream);
    const socket = await dial(url);
    socket.write("POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nabc");
    await arrived.promise;
    socket.destroy();
    await left.promise;
    expect(await records.only()).toMatchObject({ outcome: "canceled", endpoint: "/v1/files", costNanoUsd: 0 });
  });

  test.each(["chunked", "content-length"])(
    "an answer that the upstream cuts (%s) looks cut to the client",
    async (framing) => {
      const events = messageEvents(["Hello"]).slice(0, 5).join("");
      const upstream = await startRawUpstream((socket) => {
        const length = framing === "chunked" ? "transfer-encoding: chunked" : "content-length: 90000";
        socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n${length}\r\n\r\n`);
        socket.end(framing === "chunked" ? `${events.length.toString(16)}\r\n${events}\r\n` : events);
      });
      const { url, records } = await open(upstream);
      const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
      const reader = answer.body?.getReader();
      let text = "";
      const readAll = async () => {
        for (;;) {
          const part = await reader?.read();
          if (part?.done !== false) return;
          text += new TextDecoder().decode(part.value);
        }
      };
      await expect(readAll()).rejects.toThrow();
      // Everything that came was passed on first.
      expect(text).toBe(events);
      expect(await records.only()).toMatchObject({ outcome: "partial", inputTokens: 25 });
    },
  );

  test("a stream that ends in good order without its last event is recorded as partial", async () => {
    const events = messageEvents(["Hello"]).slice(0, -1);
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.end(events.join(""));
    });
    const { url, records } = await open(upstream);
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(await answer.text()).toBe(events.join(""));
    expect(await records.only()).toMatchObject({ outcome: "partial", outputTokens: 15 });
  });

  test("an error event after HTTP 200 is recorded with its cause", async () => {
    const error = `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n`;
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.end(messageEvents(["Hello"])[0] + error);
    });
    const { url, records } = await open(upstream);
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(await answer.text()).toContain(error);
    expect(await records.only()).toMatchObject({
      ...{ outcome: "partial", status: 200, refusal: "overloaded", errorType: "overloaded_error", inputTokens: 25 },
    });
  });

  test("an upstream that cannot be reached gives a 502 that names it and says what to check", async () => {
    const upstream = await startUpstream(() => {});
    const { url, records } = await open(upstream);
    await upstream.close();
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(answer.status).toBe(502);
    const { error, request_id: id } = (await answer.json()) as {
      error: { type: string; message: string };
      request_id: string;
    };
    expect(error.type).toBe("api_error");
    expect(error.message).toContain(new URL(upstream.url).host);
    expect(error.message).toContain("HEADROOM_UPSTREAM_URL");
    expect(error.message).not.toMatch(/\n|\.ts\b|node:/);
    expect(await records.only()).toMatchObject({
      id,
      status: 502,
      outcome: "failed",
      refusal: "upstream_fault",
      costNanoUsd: 0,
    });
  });

  test("an upstream that closes without an answer gives a 502, and the next call works", async () => {
    let count = 0;
    const upstream = await startRawUpstream((socket) => {
      count += 1;
      if (count === 1) socket.destroy();
      else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    });
    const { url } = await open(upstream);
    const first = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(first.status).toBe(502);
    expect(await first.json()).toMatchObject({ error: { message: expect.stringContaining("closed the connection") } });
    expect((await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES })).status).toBe(200);
  });

  test("an upstream that never answers gives a 504 after the time for headers", async () => {
    const upstream = await startLiveUpstream((req) => req.resume());
    const { url, records } = await open(upstream, { timeouts: { headersMs: 30 } });
    const body = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 1, messages: [] });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body });
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({ error: { type: "timeout_error" } });
    expect(await records.only()).toMatchObject({ outcome: "failed", refusal: "timeout", status: 504 });
  });

  test("a stream's first byte has a time of its own", async () => {
    const upstream = await startLiveUpstream((req) => req.resume());
    const { url } = await open(upstream, { timeouts: { streamHeadersMs: 30 } });
    const body = JSON.stringify({ model: "claude-opus-5-5", max_tokens: 1, messages: [], stream: true });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body });
    expect(answer.status).toBe(504);
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringContaining("no answer within 0.03 s") },
    });
  });

  test("an upload that is answered in its midst is not timed any more", async () => {
    const headersMs = 30;
    const upstream = await startLiveUpstream((req, res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.flushHeaders();
      req.resume();
      req.on("end", () => setTimeout(() => res.end("{}"), 10 * headersMs));
    });
    const { url } = await open(upstream, { timeouts: { headersMs } });
    const body = new Blob(["x".repeat(100_000)]).stream();
    const answer = await fetch(`${url}/v1/files`, { method: "POST", body, duplex: "half" } as RequestInit);
    expect(await answer.text()).toBe("{}");
  });

  test("once the first byte is there nothing is timed: a stream may be silent for longer than an answer may take", async () => {
    const headersMs = 60;
    const upstream = await startLiveUpstream((req, res) => {
      req.resume();
      res.writeHead(200, { "content-type": "text/event-stream" });
      const [first = "", ...rest] = messageEvents(["Hello"]);
      res.write(first);
      setTimeout(() => res.end(rest.join("")), 40 * headersMs);
    });
    const { url, records } = await open(upstream, { timeouts: { headersMs, streamHeadersMs: headersMs } });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(await answer.text()).toBe(messageEvents(["Hello"]).join(""));
    expect(await records.only()).toMatchObject({ outcome: "succeeded", outputTokens: 15 });
  });

  test("a recorder, live view or limit book that fails does not fail the call", async () => {
    const upstream = await startUpstream((res) => {
      res.writeHead(200, { "content-type": "application/json", "anthropic-ratelimit-requests-limit": "5" });
      res.end(JSON.stringify(messageAnswer()));
    });
    const fail = () => {
      throw new Error("broken");
    };
    const { url, gateway } = await open(upstream, {
      recorder: { record: fail },
      live: { open: fail },
      limits: { observe: fail },
    });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(await answer.json()).toEqual(messageAnswer());
    expect(gateway.openCalls).toBe(0);
  });

  test("closing lets open calls finish, refuses new ones to be tried again, and then no connection is left", async () => {
    const events = messageEvents(["Hello"]);
    let finish = () => {};
    const upstream = await startLiveUpstream((req, res) => {
      req.resume();
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(events[0]);
      finish = () => res.end(events.slice(1).join(""));
    });
    const { url, gateway, records } = await open(upstream);
    const open_ = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    const closed = gateway.close(60_000);

    const refused = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refused.json()).toMatchObject({ type: "error", error: { type: "api_error" } });

    finish();
    expect(await open_.text()).toBe(events.join(""));
    await closed;
    expect(records.calls.map((call) => call.outcome).sort()).toEqual(["failed", "succeeded"]);
  });

  test("closing cuts what is still open after the grace, and records it", async () => {
    const events = messageEvents(["Hello"]);
    const upstream = await startLiveUpstream((req, res) => {
      req.resume();
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(events[0]);
    });
    const { url, gateway, records } = await open(upstream);
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES });
    const text = answer.text();
    const rejected = expect(text).rejects.toThrow();
    await gateway.close(0);
    await rejected;
    expect(await records.only()).toMatchObject({ outcome: "partial", inputTokens: 25 });
  });

  test("no credential reaches a record, a log line or an error", async () => {
    const written: unknown[] = [];
    const note = (...parts: unknown[]) => void written.push(parts);
    const upstream = await startUpstream(() => {});
    const { url, records } = await open(upstream, {
      apiKey: "sk-ant-upstream-secret",
      log: { debug: note, info: note, warn: note, error: note },
      clock: systemClock,
    });
    await upstream.close();
    const credentials = { "x-api-key": "sk-ant-caller-secret", authorization: `Bearer ${AGENT_KEY}` };
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body: MESSAGES, headers: credentials });
    const everything = JSON.stringify([await answer.text(), records.calls, written]);
    expect(written).toHaveLength(1);
    expect(everything).not.toMatch(/secret|hr_test/);
  });
});

async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}
