import type { ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { DEFAULT_GATEWAY_SETTINGS } from "../../lib/access/schema.ts";
import type { GatewayOptions } from "../../lib/gateway/gateway.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { type Door, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { messageAnswer, messageEvents, type Received, startUpstream } from "../support/upstream.ts";

const MODEL = "claude-opus-5-5";
const PING = 'event: ping\ndata: {"type": "ping"}\n\n';
const STREAM = messageEvents(["Hel", "lo."]).join("");
const ERROR = { type: "error", error: { type: "invalid_request_error", message: "No." }, request_id: "req_1" };
const REQUEST = { model: MODEL, max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };

type Answer = (res: ServerResponse, request: Received) => void;
type Options = Pick<GatewayOptions, "settings" | "pingEveryMs">;

const SETTINGS = { current: { ...DEFAULT_GATEWAY_SETTINGS, pingWhileWaiting: true } };
const PINGED: Options = { settings: SETTINGS, pingEveryMs: 5 };

const stream: Answer = (res) => res.writeHead(200, { "content-type": "text/event-stream" }).end(STREAM);

/**
 * A gateway that knows no limits yet: it sends three calls to learn them and holds all others until one is answered. The
 * three are out and stay out until `release` has one answered.
 */
async function holdCalls(door: Door, answer: Answer, options = PINGED) {
  const probes: ServerResponse[] = [];
  const upstream = await startUpstream((res, request) => {
    if (request.body.includes("probe")) probes.push(res);
    else answer(res, request);
  });
  onTestFinished(upstream.close);
  const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock: systemClock });
  onTestFinished(() => desk.close());
  const gateway = await openDoor(door, upstream.url, { traffic: desk, ...options });
  onTestFinished(gateway.close);
  const post = (body: object, init: RequestInit = {}) =>
    fetch(`${gateway.url}/v1/messages`, {
      ...{ method: "POST", body: JSON.stringify({ ...REQUEST, ...body }), ...init },
      headers: { "x-api-key": "sk-ant-test", "user-agent": "claude-cli/2.1.0", ...init.headers },
    });
  for (let index = 0; index < 3; index += 1) post({ system: "probe" }).catch(() => {});
  await expect.poll(() => probes.length).toBe(3);
  const release = () =>
    probes.shift()?.setHeader("content-type", "application/json").end(JSON.stringify(messageAnswer()));
  /** The call's own record: of the probes, which do not stream, some have succeeded and the others are out. */
  const row = async () => {
    const calls = await gateway.records.atLeast(1);
    return calls.find(({ streamed, outcome }) => streamed || outcome !== "succeeded");
  };
  return { ...gateway, desk, post, release, upstream, row };
}

/** Reads an answer piece by piece. */
function reader(answer: Response) {
  const body = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const read = async () => {
    const { done, value } = (await body?.read()) ?? { done: true, value: "" };
    text += value ?? "";
    return !done;
  };
  return {
    /** So many pings more than there are. */
    async pings(count: number): Promise<void> {
      const until = text.length + count * PING.length;
      while (text.length < until) if (!(await read())) throw new Error(`it ended after ${text}`);
      expect(text.replaceAll(PING, "")).toBe("");
    },
    async until(part: string): Promise<void> {
      while (!text.includes(part)) if (!(await read())) throw new Error(`it ended after ${text}`);
    },
    /** What comes after the pings, when all is here. */
    async rest(): Promise<string> {
      while (await read());
      expect(text.startsWith(PING)).toBe(true);
      return text.slice(text.lastIndexOf(PING) + PING.length);
    },
  };
}

function errorIn(text: string): unknown {
  const [, data] = /^event: error\ndata: (.*)\n\n$/.exec(text) ?? [];
  return JSON.parse(data ?? "null");
}

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  test("a stream that waits is begun and pinged, and then follows as the upstream sent it", async () => {
    const { post, release, upstream, row } = await holdCalls(door, stream);
    const answer = await post({ stream: true });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("no-cache");
    expect(upstream.received).toHaveLength(3);
    const read = reader(answer);
    await read.pings(3);
    release();
    // The stream has a ping of its own, in other words.
    expect(await read.rest()).toBe(STREAM);
    expect(await row()).toMatchObject({ status: 200, outcome: "succeeded", outputTokens: 15, streamed: true });
    expect((await row())?.id).toBe(answer.headers.get("x-headroom-call"));
    expect((await row())?.waitMs).toBeGreaterThan(0);
  });

  test("pings go on while the upstream takes its time, and end when it answers", async () => {
    const asked: ServerResponse[] = [];
    const { post, release, url } = await holdCalls(door, (res, { method }) => {
      if (method === "GET") res.end();
      else asked.push(res);
    });
    const read = reader(await post({ stream: true }));
    release();
    await expect.poll(() => asked.length).toBe(1);
    await read.pings(3);
    const [res] = asked;
    res?.writeHead(200, { "content-type": "text/event-stream" }).write(STREAM.slice(0, 300));
    await read.until(STREAM.slice(200, 300));
    // Its answer has begun and stands still: other calls come and go meanwhile.
    for (let others = 0; others < 20; others += 1) await (await fetch(`${url}/v1/models`)).text();
    res?.end(STREAM.slice(300));
    expect(await read.rest()).toBe(STREAM);
  });

  test("of a stream that was begun the upstream is asked for no encoding, of any other for the client's", async () => {
    const { post, release, upstream } = await holdCalls(door, stream);
    const init = { headers: { "Accept-Encoding": "gzip, br" } };
    const answer = await post({ stream: true }, init);
    release();
    expect(await reader(answer).rest()).toBe(STREAM);
    expect(await (await post({ stream: true }, init)).text()).toBe(STREAM);
    expect(upstream.received.slice(3).map(({ headers }) => headers["accept-encoding"])).toEqual([
      "identity",
      "gzip, br",
    ]);
  });

  test("the official SDK reads a stream that was pinged whole", async () => {
    const simulator = await startSimulator({ limits: { "opus-5.5": { input_tokens: 600_000 } } });
    onTestFinished(simulator.close);
    const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock: systemClock });
    onTestFinished(() => desk.close());
    const gateway = await openDoor(door, simulator.url, { traffic: desk, ...PINGED });
    onTestFinished(gateway.close);
    simulator.drain("opus-5.5", { input_tokens: 600_000 });
    const client = new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test", maxRetries: 0 });
    const asked = client.messages.stream(REQUEST, {
      headers: { "x-simulator-input-tokens": "5000", "x-headroom-class": "critical" },
    });
    const message = await asked.finalMessage();
    expect(message.usage.input_tokens).toBe(5_000);
    expect(message.content[0]).toMatchObject({ type: "text", text: expect.stringMatching(/./) });
    const row = await gateway.records.only();
    // It came back from the upstream with a 429 before the client had a byte, and waited again.
    expect(row).toMatchObject({ status: 200, outcome: "succeeded", inputTokens: 5_000 });
    expect(row.traffic?.attempts).toBeGreaterThan(1);
    expect(asked.response?.headers.get("cache-control")).toBe("no-cache");
    expect(asked.response?.headers.get("x-headroom-call")).toBe(row.id);
    expect(asked.response?.headers.get("x-headroom-wait-ms")).toBeNull();
  });

  test("a stream that is pinged goes to another model where a rule says so, and follows as that one sent it", async () => {
    const fallbacks = [{ model: MODEL, to: "claude-haiku-4-5", waitS: 1 }];
    const options = { ...PINGED, settings: { current: { ...SETTINGS.current, fallbacks } } };
    const { post, upstream, row } = await holdCalls(door, stream, options);
    const answer = await post({ stream: true });
    // The head is gone before it is known whether the rule applies: it names the other model in advance.
    expect(answer.headers.get("x-headroom-fallback")).toBe(`${MODEL} -> claude-haiku-4-5; if-needed`);
    expect(await reader(answer).rest()).toBe(STREAM);
    const { body, headers } = upstream.received[3] ?? { body: "", headers: {} };
    expect(JSON.parse(String(body))).toMatchObject({ model: "claude-haiku-4-5", stream: true });
    expect(headers["accept-encoding"]).toBe("identity");
    expect(await row()).toMatchObject({ status: 200, outcome: "succeeded", pool: "haiku-4.5" });
  });

  test("a refusal of Headroom's own is an error event, and the row says what it was", async () => {
    const { post, row, url } = await holdCalls(door, stream);
    const headers = { "x-headroom-deadline-ms": "60" };
    const read = reader(await post({ stream: true }, { headers }));
    const error = errorIn(await read.rest());
    expect(error).toMatchObject({ type: "error", error: { type: "rate_limit_error" }, request_id: (await row())?.id });
    expect(await row()).toMatchObject({
      status: 429,
      outcome: "refused",
      refusal: "shed",
      errorCode: "headroom_deadline",
    });

    const client = new Anthropic({ baseURL: url, apiKey: "sk-ant-test", maxRetries: 2 });
    const thrown = await client.messages
      .stream(REQUEST, { headers })
      .finalMessage()
      .catch((problem: unknown) => problem);
    expect(thrown).toBeInstanceOf(Anthropic.APIError);
    expect(thrown).toMatchObject({ error: { error: { type: "rate_limit_error" } } });
  });

  test.each([
    ["JSON is told as it is", JSON.stringify(ERROR), ERROR],
    ["JSON of several lines is told on one", JSON.stringify(ERROR, null, 2), ERROR],
    ["no JSON is told by its status", "<h1>No.</h1>", { type: "error", error: { type: "invalid_request_error" } }],
  ])("an upstream's refusal whose body is %s", async (_, body, expected) => {
    const { post, release, row } = await holdCalls(door, (res) => res.writeHead(400).end(body));
    const read = reader(await post({ stream: true }));
    release();
    expect(errorIn(await read.rest())).toMatchObject(expected);
    expect(await row()).toMatchObject({ status: 400, outcome: "refused", refusal: "invalid" });
  });

  test("a refusal that breaks off is told by its status, and the stream ends in good order", async () => {
    const { post, release, row } = await holdCalls(door, (res) => {
      res.writeHead(403, { "content-length": "100" }).write('{"type":', () => res.destroy());
    });
    const read = reader(await post({ stream: true }));
    release();
    expect(errorIn(await read.rest())).toMatchObject({ error: { type: "permission_error" } });
    expect(await row()).toMatchObject({ status: 403, outcome: "refused" });
  });

  test("an upstream that gives no answer is asked until the deadline, and that is told of as an error event", async () => {
    const { post, release, row, upstream } = await holdCalls(door, (res) => res.destroy());
    const read = reader(await post({ stream: true }, { headers: { "x-headroom-deadline-ms": "2500" } }));
    release();
    expect(errorIn(await read.rest())).toMatchObject({ error: { type: "rate_limit_error" } });
    expect(upstream.received.length).toBeGreaterThan(4);
    expect(await row()).toMatchObject({ status: 429, outcome: "refused", refusal: "shed" });
  });

  test.each([
    ["encodes its answer all the same", { "content-encoding": "gzip" }, gzipSync(STREAM), /gzip/],
    ["answers with no stream", { "content-type": "application/json" }, JSON.stringify(messageAnswer()), /no stream/],
  ])("an upstream that %s is told of as an error event, and the call has failed", async (_, headers, body, said) => {
    const { post, release, row } = await holdCalls(door, (res) =>
      res.writeHead(200, { "content-type": "text/event-stream", ...headers }).end(body),
    );
    const read = reader(await post({ stream: true }));
    release();
    const error = { type: "api_error", message: expect.stringMatching(said) };
    expect(errorIn(await read.rest())).toMatchObject({ type: "error", error });
    // What it cost is not known, which is not nothing.
    expect(await row()).toMatchObject({ status: 200, outcome: "failed", refusal: "upstream_fault", costNanoUsd: null });
  });

  test("a stream that breaks off after pings is broken off, and recorded as far as it came", async () => {
    const { post, release, row } = await holdCalls(door, (res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(STREAM.slice(0, STREAM.indexOf("event: content_block_stop")), () => res.destroy());
    });
    const read = reader(await post({ stream: true }));
    release();
    await expect(read.rest()).rejects.toThrow();
    expect(await row()).toMatchObject({ status: 200, outcome: "partial", inputTokens: 25 });
  });

  test("a client that leaves while it is pinged frees its place at once", async () => {
    const { post, desk, row } = await holdCalls(door, stream);
    const gone = new AbortController();
    const read = reader(await post({ stream: true }, { signal: gone.signal }));
    await read.pings(2);
    expect(desk.snapshot().waiting).toBe(1);
    gone.abort();
    await expect(read.rest()).rejects.toThrow();
    await expect.poll(() => desk.snapshot().waiting).toBe(0);
    expect(await row()).toMatchObject({ outcome: "canceled", status: null, waitMs: 0 });
  });

  test("a shutdown is told to a stream that waits as an error event", async () => {
    const { post, gateway } = await holdCalls(door, stream);
    const read = reader(await post({ stream: true }));
    await read.pings(1);
    const closed = gateway.close(0);
    expect(errorIn(await read.rest())).toMatchObject({ error: { type: "overloaded_error" } });
    await closed;
  });

  test.each([
    ["is as it is by default", { stream: true }, { pingEveryMs: 5 }],
    ["is on for calls that do not stream", {}, PINGED],
    ["is on for calls that wait less than ten seconds", { stream: true }, { settings: SETTINGS }],
  ])("no call is pinged where pinging %s", async (_, body, options) => {
    const { post, desk, release, upstream } = await holdCalls(door, stream, options);
    const asked = post(body, { headers: { "accept-encoding": "gzip" } });
    await expect.poll(() => desk.snapshot().waiting).toBe(1);
    release();
    const answer = await asked;
    expect(await answer.text()).toBe(STREAM);
    expect(answer.headers.get("x-headroom-wait-ms")).toMatch(/^\d+$/);
    expect(upstream.received.at(-1)?.headers["accept-encoding"]).toBe("gzip");
  });
});
