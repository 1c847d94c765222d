import { randomBytes } from "node:crypto";
import zlib from "node:zlib";
import Anthropic from "@anthropic-ai/sdk";
import { request } from "undici";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { createAccess } from "../../lib/access/access.ts";
import type { AgentInput } from "../../lib/access/schema.ts";
import { MemoryAnswerStore, ResponseCache } from "../../lib/gateway/response-cache.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { ManualClock, systemClock } from "../../lib/kit/clock.ts";
import { silentLog } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { AGENT_KEY, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { messageAnswer, messageEvents, startUpstream } from "../support/upstream.ts";

const ASK = { model: "claude-opus-5-5", max_tokens: 5, temperature: 0, messages: [] };
const ON = { "x-api-key": "sk-ant-mine", "x-headroom-cache": "60" };
type Answerer = Parameters<typeof startUpstream>[0];
type Sent = { headers?: Record<string, string>; body?: object | string | Buffer; path?: string };

let stored: TestDatabase;
beforeAll(async () => {
  stored = await openTestDatabase();
});
afterAll(() => stored.close());

/** No two answers are alike, so that one that is given again is known as such. */
function answerAnew(): Answerer {
  let count = 0;
  return (res) => {
    res.writeHead(200, { "content-type": "application/json" });
    res.end(JSON.stringify(messageAnswer(undefined, { id: `msg_${count++}` })));
  };
}

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  async function open(answer: Answerer = answerAnew(), options: Parameters<typeof openDoor>[2] = {}) {
    const upstream = await startUpstream(answer);
    onTestFinished(upstream.close);
    const gateway = await openDoor(door, upstream.url, options);
    onTestFinished(gateway.close);
    const send = async ({ headers = ON, body = ASK, path = "/v1/messages" }: Sent = {}) => {
      const text = typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
      const response = await request(`${gateway.url}${path}`, { method: "POST", headers, body: text });
      const bytes = Buffer.from(await response.body.arrayBuffer());
      return { status: response.statusCode, headers: response.headers, body: bytes };
    };
    /** What the cache says of each: hit, miss, or nothing. */
    const sendAll = async (calls: Sent[]) => {
      const said: (string | undefined)[] = [];
      for (const call of calls) said.push(String((await send(call)).headers["x-headroom-cache"] ?? "off"));
      return said;
    };
    return { ...gateway, upstream, send, sendAll };
  }

  const text = JSON.stringify(messageAnswer());
  const events = messageEvents(["Hel", "lo ".repeat(20_000)]);
  const plain = { type: "application/json", pieces: [Buffer.from(text)] };
  const stream = { type: "text/event-stream; charset=utf-8", pieces: events.map((event) => Buffer.from(event)) };
  const gzip = (pieces: Buffer[]) => {
    const bytes = zlib.gzipSync(Buffer.concat(pieces));
    return Array.from({ length: Math.ceil(bytes.length / 50) }, (_, at) => bytes.subarray(at * 50, at * 50 + 50));
  };
  test.each([
    ["plain", plain, null],
    ["plain, compressed", { ...plain, pieces: gzip(plain.pieces) }, "gzip"],
    ["streamed", stream, null],
    ["streamed, compressed", { ...stream, pieces: gzip(stream.pieces) }, "gzip"],
  ] as const)(
    "an answer (%s) is given again byte for byte, without what spoke for its moment",
    async (_, sent, coding) => {
      const { url, upstream, send, records } = await open((res) => {
        res.writeHead(200, "Quite OK", {
          ...{
            "content-type": sent.type,
            "request-id": "req_1",
            "anthropic-organization-id": "org-1",
            "x-unknown": "kept",
          },
          ...(coding ? { "content-encoding": coding } : {}),
          ...(sent.pieces.length === 1 ? { "content-length": String(sent.pieces[0]?.length) } : {}),
          ...{ "anthropic-ratelimit-requests-remaining": "3", "x-ratelimit-limit-requests": "4", "retry-after": "5" },
          ...{
            "anthropic-priority-input-tokens-limit": "6",
            "set-cookie": "a=b",
            age: "77",
            "x-headroom-call": "other",
          },
        });
        for (const piece of sent.pieces) res.write(piece);
        res.end();
      });
      const headers = { ...ON, "accept-encoding": "gzip" };
      const [first, second] = [await send({ headers }), await send({ headers })];
      expect(upstream.received).toHaveLength(1);
      expect(upstream.received[0]?.headers).not.toHaveProperty("x-headroom-cache");
      expect(first.body.equals(Buffer.concat(sent.pieces))).toBe(true);
      expect(second.body.equals(first.body)).toBe(true);
      expect(second.status).toBe(200);

      expect(first.headers).toMatchObject({ "x-headroom-cache": "miss", "retry-after": "5", "set-cookie": "a=b" });
      const [miss, hit] = await records.atLeast(2);
      const lost = [
        "anthropic-ratelimit-requests-remaining",
        "x-ratelimit-limit-requests",
        "retry-after",
        "set-cookie",
      ];
      const gone = new Set([...lost, "anthropic-priority-input-tokens-limit", "x-headroom-upstream"]);
      const kept = Object.entries(first.headers).filter(([name]) => !gone.has(name));
      expect(second.headers).toEqual({
        ...Object.fromEntries(kept),
        ...{ date: second.headers.date, age: "0", "x-headroom-cache": "hit", "x-headroom-call": hit?.id },
      });
      expect(hit).toEqual({
        ...miss,
        ...{ id: hit?.id, startedAt: hit?.startedAt, latencyMs: hit?.latencyMs, ttftMs: hit?.ttftMs },
        ...{ cacheHit: true, inputTokens: 0, outputTokens: 0, costNanoUsd: 0, rateLimitHeaders: {} },
        ...{ outputTokensPerSecond: null, serviceTier: null },
      });
      expect(miss?.costNanoUsd).toBeGreaterThan(0);
      expect(miss?.cacheHit).toBe(false);
      // Another client program gets the same bytes decoded.
      const decoded = await fetch(`${url}/v1/messages`, { method: "POST", headers, body: JSON.stringify(ASK) });
      expect(decoded.headers.get("x-headroom-cache")).toBe("hit");
      expect(await decoded.text()).toBe(sent.type === plain.type ? text : events.join(""));
    },
  );

  test("nothing is kept or given again unless the call asks for it", async () => {
    const { sendAll, upstream } = await open();
    const asking = (value: string) => ({ headers: { ...ON, "x-headroom-cache": value } });
    const bare = { headers: { "x-api-key": "sk-ant-mine" } };
    const calls = [bare, bare, asking("off"), asking("0"), asking("-1"), asking("always"), asking("60"), bare];
    expect(await sendAll(calls)).toEqual(["off", "off", "off", "off", "off", "off", "miss", "off"]);
    expect(upstream.received).toHaveLength(8);
    expect(await sendAll([asking(" 60 "), asking("OFF"), asking("999999999")])).toEqual(["hit", "off", "hit"]);
  });

  test("the header is believed of agent keys, and of others only where labels are", async () => {
    const { sendAll } = await open(answerAnew(), { believeLabels: false });
    const agent = { headers: { "x-api-key": AGENT_KEY, "x-headroom-cache": "60" } };
    expect(await sendAll([{}, {}, agent, agent])).toEqual(["off", "off", "miss", "hit"]);
  });

  test("nobody is given an answer that was made with another credential", async () => {
    const agents = ["hr_one", "hr_two"].map((secret, at) => ({
      secret,
      id: `01935f00-0000-7000-8000-00000000000${at}`,
    }));
    const { sendAll, upstream } = await open(answerAnew(), {
      agentKeys: {
        find: (secret) => {
          const agent = agents.find((known) => known.secret === secret);
          return agent ? { id: agent.id, name: secret } : null;
        },
      },
    });
    const owners: Record<string, string>[] = [
      { "x-api-key": "sk-ant-one" },
      { "x-api-key": "sk-ant-two" },
      { authorization: "Bearer sk-ant-one" },
      { authorization: "Basic b25l" },
      { authorization: "Basic dHdv" },
      { "x-api-key": "sk-ant-one", authorization: "Bearer sk-ant-two" },
      { "x-api-key": "sk-ant-upstream" },
      { "x-api-key": "hr_one" },
      { "x-api-key": "hr_two" },
      { cookie: "session=one" },
      {},
    ];
    const calls = owners.map((owner) => ({ headers: { ...owner, "x-headroom-cache": "60" } }));
    expect(await sendAll(calls)).toEqual(owners.map(() => "miss"));
    expect(upstream.received).toHaveLength(owners.length);
    expect(await sendAll(calls)).toEqual(owners.map(() => "hit"));
    // An agent is the same in whichever header its key comes.
    expect(await sendAll([{ headers: { authorization: "Bearer hr_one", "x-headroom-cache": "60" } }])).toEqual(["hit"]);
  });

  test("a call that differs in anything an answer depends on is another call", async () => {
    const { sendAll } = await open();
    const calls: Sent[] = [
      {},
      { body: { ...ASK, max_tokens: 6 } },
      { body: `${JSON.stringify(ASK)} ` },
      { path: "/v1/messages?beta=true" },
      { headers: { ...ON, "anthropic-version": "2023-06-01" } },
      { headers: { ...ON, "anthropic-beta": "a-1" } },
      { headers: { ...ON, "anthropic-beta": "a-1,b-2" } },
      { headers: { ...ON, "accept-encoding": "gzip" } },
    ];
    expect(await sendAll(calls)).toEqual(calls.map(() => "miss"));
    expect(await sendAll(calls)).toEqual(calls.map(() => "hit"));
    expect(await sendAll([{ headers: { ...ON, "user-agent": "another", "x-headroom-agent": "b" } }])).toEqual(["hit"]);
  });

  test.each<[string, object | string]>([
    ["no temperature", { ...ASK, temperature: undefined }],
    ["a temperature above 0", { ...ASK, temperature: 0.01 }],
    ["a temperature in words", { ...ASK, temperature: "0" }],
    ["an empty temperature", { ...ASK, temperature: null }],
    ["a server's tool", { ...ASK, tools: [{ name: "x" }, { type: "web_search_20250305", name: "web_search" }] }],
    ["a tool of a known type", { ...ASK, tools: [{ type: "bash_20250124", name: "bash" }] }],
    ["tools that are none", { ...ASK, tools: ["bash"] }],
    ["MCP servers", { ...ASK, mcp_servers: [{ type: "url", url: "https://example.com", name: "x" }] }],
    [
      "an image that the API fetches",
      {
        ...ASK,
        messages: [
          { role: "user", content: [{ type: "image", source: { type: "url", url: "https://example.com/now.png" } }] },
        ],
      },
    ],
    ["a container", { ...ASK, container: "container_1" }],
    ["a second temperature", `{"temperature":0,"model":"claude-opus-5-5","temperature":1}`],
    ["no JSON", "temperature: 0"],
  ])("a call with %s is always sent", async (_, body) => {
    const { sendAll, upstream } = await open();
    expect(await sendAll([{ body }, { body }])).toEqual(["off", "off"]);
    expect(upstream.received).toHaveLength(2);
  });

  test.each<[string, object | string]>([
    [
      "tools of the caller's own",
      {
        ...ASK,
        tools: [
          { name: "x", input_schema: {} },
          { type: "custom", name: "y" },
        ],
      },
    ],
    ["such an image quoted in its text", { ...ASK, messages: [{ role: "user", content: '{"type":"url"}' }] }],
    ["nothing in its lists", { ...ASK, tools: [], mcp_servers: [], container: null }],
    ["temperature 0.0 and a long prompt", `{"messages":["${"é".repeat(300_000)}"],"temperature":0.0}`],
  ])("a call with %s is answered from memory the second time", async (_, body) => {
    const { sendAll, upstream } = await open();
    expect(await sendAll([{ body }, { body }])).toEqual(["miss", "hit"]);
    expect(upstream.received).toHaveLength(1);
  });

  test("only messages are kept, and only of bodies that came as they are", async () => {
    const { sendAll } = await open();
    const compressed = { headers: { ...ON, "content-encoding": "gzip" }, body: zlib.gzipSync(JSON.stringify(ASK)) };
    for (const call of [
      compressed,
      ...["/v1/messages/count_tokens", "/v1/complete", "/v1/chat/completions"].map((path) => ({ path })),
    ]) {
      expect(await sendAll([call, call])).toEqual(["off", "off"]);
    }
  });

  const whole = JSON.stringify(messageAnswer());
  const json = { "content-type": "application/json" };
  const sse = { "content-type": "text/event-stream" };
  const cuts: [string, Answerer][] = [
    ["a refusal by limit", (res) => res.writeHead(429, { ...json, "retry-after": "1" }).end("{}")],
    ["a fault", (res) => res.writeHead(500, json).end("{}")],
    ["another success than 200", (res) => res.writeHead(201, json).end(whole)],
    ["a model's refusal", (res) => res.writeHead(200, json).end(whole.replace("end_turn", "refusal"))],
    [
      "a model's refusal in a stream",
      (res) => res.writeHead(200, sse).end(messageEvents(["x"], { stopReason: "refusal" }).join("")),
    ],
    ["what is no message", (res) => res.writeHead(200, json).end("{}")],
    ["what cannot be read", (res) => res.writeHead(200, { ...json, "content-encoding": "exotic" }).end(whole)],
    [
      "a stream without its last event",
      (res) => res.writeHead(200, sse).end(messageEvents(["x"]).slice(0, -1).join("")),
    ],
    [
      "a stream with an error in it",
      (res) => {
        const error = `event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"x"}}\n\n`;
        res.writeHead(200, sse).end([...messageEvents(["x"]).slice(0, 4), error].join(""));
      },
    ],
    [
      "an answer that was cut",
      (res) => {
        res.writeHead(200, { ...json, "content-length": String(whole.length + 1) });
        res.write(whole, () => res.destroy());
      },
    ],
    [
      "a stream that was cut after its last event",
      (res) => {
        res.writeHead(200, sse);
        res.write(messageEvents(["x"]).join(""), () => res.destroy());
      },
    ],
    [
      "an announced megabyte and more",
      (res) => {
        const long = whole.padEnd(1024 * 1024 + 1);
        res.writeHead(200, { ...json, "content-length": String(long.length) }).end(long);
      },
    ],
    [
      "a stream of more than a megabyte",
      (res) => res.writeHead(200, sse).end(messageEvents(["x".repeat(2 ** 20)]).join("")),
    ],
  ];
  test.each(cuts)("%s is passed on and not kept", async (_, answer) => {
    const { upstream, send, gateway } = await open(answer);
    const outcomes = [];
    for (let time = 0; time < 2; time += 1) {
      outcomes.push(
        await send().then(
          ({ headers }) => headers["x-headroom-cache"],
          () => "cut",
        ),
      );
    }
    expect(outcomes).not.toContain("hit");
    expect(upstream.received).toHaveLength(2);
    expect(gateway.openCalls).toBe(0);
  });

  test("an answer of exactly a megabyte is kept", async () => {
    const { sendAll } = await open((res) => res.writeHead(200, json).end(whole.padEnd(1024 * 1024)));
    expect(await sendAll([{}, {}])).toEqual(["miss", "hit"]);
  });

  test("an answer is given again until its time is over, and to each call only as old as that call allows", async () => {
    const clock = new ManualClock();
    const { send } = await open(answerAnew(), { clock });
    const ask = async (seconds: number) => {
      const { headers, body } = await send({ headers: { ...ON, "x-headroom-cache": String(seconds) } });
      return [headers["x-headroom-cache"], headers.age, JSON.parse(String(body)).id];
    };
    expect(await ask(60)).toEqual(["miss", undefined, "msg_0"]);
    clock.advance(59_999);
    expect(await ask(60)).toEqual(["hit", "59", "msg_0"]);
    clock.advance(1);
    expect(await ask(60)).toEqual(["miss", undefined, "msg_1"]);
    clock.advance(10_000);
    expect(await ask(3_600)).toEqual(["hit", "10", "msg_1"]);
    expect(await ask(10)).toEqual(["miss", undefined, "msg_2"]);
    // The younger answer took the place of the older, for as long as its own call allows.
    expect(await ask(3_600)).toEqual(["hit", "0", "msg_2"]);
    clock.advance(10_001);
    expect(await ask(3_600)).toEqual(["miss", undefined, "msg_3"]);
  });

  test("no more bytes are kept than allowed: the least recently used answer makes room", async () => {
    const store = new MemoryAnswerStore({ clock: systemClock, maxBytes: 100_000 });
    const cache = new ResponseCache({ clock: systemClock, log: silentLog, store });
    const { sendAll } = await open((res) => res.writeHead(200, json).end(whole.padEnd(40_000)), { cache });
    const [one, two, three] = [1, 2, 3].map((max_tokens) => ({ body: { ...ASK, max_tokens } }));
    if (!one || !two || !three) throw new Error("three calls are needed");
    expect(await sendAll([one, two, one, three])).toEqual(["miss", "miss", "hit", "miss"]);
    expect(cache.state).toMatchObject({ hits: 1, misses: 3 });
    expect(cache.state.bytes).toBeGreaterThan(80_000);
    expect(cache.state.bytes).toBeLessThanOrEqual(100_000);
    expect(await sendAll([one, three, two])).toEqual(["hit", "hit", "miss"]);
  });

  test("a store that fails costs a call its hit and nothing else", async () => {
    const store = { find: () => Promise.reject(new Error("away")), keep: () => {}, bytes: 0 };
    const cache = new ResponseCache({ clock: systemClock, log: silentLog, store });
    const { send, upstream } = await open(answerAnew(), { cache });
    expect([(await send()).status, (await send()).status]).toEqual([200, 200]);
    expect(upstream.received).toHaveLength(2);
  });

  test("two equal calls at once are two calls", async () => {
    const waiting: (() => void)[] = [];
    const anew = answerAnew();
    const both = Promise.withResolvers<void>();
    const { send, upstream } = await open((res, received, req) => {
      waiting.push(() => anew(res, received, req));
      if (waiting.length === 2) both.resolve();
    });
    const calls = [send(), send()];
    await both.promise;
    for (const answer of waiting) answer();
    const answers = await Promise.all(calls);
    expect(answers.map(({ headers }) => headers["x-headroom-cache"])).toEqual(["miss", "miss"]);
    expect(answers[0]?.body.equals(answers[1]?.body ?? Buffer.alloc(0))).toBe(false);
    expect((await send()).headers["x-headroom-cache"]).toBe("hit");
    expect(upstream.received).toHaveLength(2);
  });

  test("a hit waits for no room, and is no use of any pool: live view, limits and books agree with the upstream's", async () => {
    const simulator = await startSimulator({ limits: { "opus-5.5": { requests: 1 } } });
    onTestFinished(simulator.close);
    const traffic = new TrafficDesk({
      controller: new TrafficController({ random: () => 0.5 }),
      clock: systemClock,
      expected: () => ({ requests: 1 }),
    });
    onTestFinished(() => traffic.close());
    const gateway = await openDoor(door, simulator.url, { traffic });
    onTestFinished(gateway.close);
    const client = new Anthropic({
      ...{ apiKey: AGENT_KEY, baseURL: gateway.url, maxRetries: 0 },
      // The API takes a temperature from clients of this version only.
      defaultHeaders: { "anthropic-version": "2023-06-01", "x-headroom-cache": "600" },
    });
    const ask = { ...ASK, max_tokens: 200, messages: [{ role: "user" as const, content: "What is for dinner?" }] };
    const read = async () => {
      const seen: string[] = [];
      const stream = client.messages.stream(ask).on("text", (part) => seen.push(part));
      return { message: await stream.finalMessage(), seen };
    };
    const first = await read();
    const again = [];
    // There is room for one call a minute: a second one that is sent would wait for most of that.
    for (let time = 0; time < 20; time += 1) again.push(await read());
    for (const { message, seen } of again) {
      expect(message).toEqual(first.message);
      expect(seen).toEqual(first.seen);
    }
    expect(first.seen.join("").length).toBeGreaterThan(20);

    await simulator.idle();
    expect(simulator.ledger.entries).toHaveLength(1);
    const sum = (pick: (call: (typeof gateway.records.calls)[number]) => number) =>
      gateway.records.calls.reduce((total, call) => total + pick(call), 0);
    expect(gateway.records.calls).toHaveLength(21);
    expect(sum((call) => (call.cacheHit ? 1 : 0))).toBe(20);
    const { usage } = simulator.ledger.sums;
    expect([sum((call) => call.inputTokens), sum((call) => call.outputTokens)]).toEqual([
      usage.inputTokens,
      usage.output,
    ]);
    expect(sum((call) => call.costNanoUsd ?? Number.NaN)).toBe(gateway.records.calls[0]?.costNanoUsd);
    for (const hit of gateway.records.calls.slice(1)) {
      expect(hit).toMatchObject({
        ...{
          status: 200,
          outcome: "succeeded",
          streamed: true,
          waitMs: 0,
          traffic: null,
          stopReason: first.message.stop_reason,
        },
        ...{ agent: "night-batch", model: "claude-opus-5-5", pool: "opus-5.5", rateLimitHeaders: {} },
        requestId: simulator.ledger.entries[0]?.requestId,
      });
    }
    expect(gateway.live.filter(({ kind }) => kind === "open")).toHaveLength(1);
    expect(gateway.live.filter(({ kind }) => kind === "close")).toHaveLength(1);
    expect(gateway.observed).toHaveLength(1);
    expect(traffic.snapshot().counts).toMatchObject({ arrived: 1, admitted: 1 });
  });

  describe("of agents", () => {
    async function openAgent(settings: Omit<AgentInput, "name">) {
      const builtIn = { baseUrl: "http://upstream.test", apiKey: "sk-ant-upstream" };
      const box = new SecretBox(Buffer.alloc(32, 7));
      const access = createAccess({ database: stored.database, box, clock: systemClock, builtIn });
      await access.refresh();
      const opened = await open(answerAnew(), { agentKeys: access.agentKeys, guard: access.guard });
      const { agent, secret } = await access.agentKeys.create({
        name: `agent ${randomBytes(6).toString("hex")}`,
        ...settings,
      });
      const send = (more: Sent = {}) => opened.send({ headers: { "x-api-key": secret }, ...more });
      const say = async (headers: Record<string, string> = {}) =>
        (await send({ headers: { "x-api-key": secret, ...headers } })).headers["x-headroom-cache"];
      return { ...opened, access, agent, send, say };
    }

    test("an agent's setting turns the cache on for all its calls, and a call may turn it off", async () => {
      const { access, agent, say, upstream } = await openAgent({ responseCacheS: 600 });
      expect([await say(), await say()]).toEqual(["miss", "hit"]);
      expect(await say({ "x-headroom-cache": "off" })).toBeUndefined();
      expect(await say({ "x-headroom-cache": "0" })).toBeUndefined();
      expect(await say({ "x-headroom-cache": "perhaps" })).toBe("hit");
      await access.agentKeys.update(agent.id, { responseCacheS: null });
      expect(await say()).toBeUndefined();
      expect(await say({ "x-headroom-cache": "600" })).toBe("hit");
      expect(upstream.received).toHaveLength(4);
    });

    test("hits count against none of an agent's caps and not against its budget", async () => {
      const { access, agent, send, say } = await openAgent({
        ...{ responseCacheS: 600, requestsPerMinute: 1, inputTokensPerMinute: 10_000 },
        dailyBudgetNanoUsd: 100_000_000,
      });
      expect(await say()).toBe("miss");
      const use = access.guard.use(agent.id, Date.now());
      expect(use).toMatchObject({ requests: 1, openCalls: 0, inputTokens: 12 });
      for (let time = 0; time < 5; time += 1) expect(await say()).toBe("hit");
      expect(access.guard.use(agent.id, Date.now())).toEqual(use);
      const other = await send({ body: { ...ASK, max_tokens: 6 } });
      expect(other.status).toBe(429);
    });

    test("an agent that may not make a call is not given its answer either", async () => {
      const { access, agent, send, records } = await openAgent({ responseCacheS: 600 });
      expect((await send()).headers["x-headroom-cache"]).toBe("miss");
      await access.agentKeys.update(agent.id, { allowedModels: ["claude-haiku-*"] });
      const model = await send();
      await access.agentKeys.update(agent.id, { allowedModels: null, enabled: false });
      const disabled = await send();
      await access.agentKeys.update(agent.id, { enabled: true });
      expect((await send()).headers["x-headroom-cache"]).toBe("hit");
      await access.agentKeys.revoke(agent.id);
      const revoked = await send();
      expect([model.status, disabled.status, revoked.status]).toEqual([403, 403, 401]);
      expect(String(model.body)).toContain("may not use claude-opus-5-5");
      expect(String(disabled.body)).toContain("is switched off");
      const calls = await records.atLeast(5);
      expect(calls.map(({ cacheHit }) => cacheHit)).toEqual([false, false, false, true, false]);
      expect(calls[1]).toMatchObject({ outcome: "refused", refusal: "permission", errorCode: "headroom_model" });
    });
  });
});

test("a client that does not read holds a replay back, gets everything once it reads, and may leave in its midst", async () => {
  const events = messageEvents(Array.from({ length: 100 }, () => "x".repeat(5_000)));
  const upstream = await startUpstream((res) => {
    res.writeHead(200, { "content-type": "text/event-stream" }).end(events.join(""));
  });
  onTestFinished(upstream.close);
  const { gateway, records, close } = await openDoor("web", upstream.url);
  onTestFinished(close);
  const call = () =>
    gateway.handleWeb(
      new Request("http://headroom.test/v1/messages", { method: "POST", headers: ON, body: JSON.stringify(ASK) }),
    );
  expect(await (await call()).text()).toBe(events.join(""));

  const held = await call();
  expect(held.headers.get("x-headroom-cache")).toBe("hit");
  expect([gateway.openCalls, records.calls.length]).toEqual([1, 1]);
  const reader = held.body?.getReader();
  let seen = "";
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    seen += Buffer.from(part.value).toString();
    // The stream holds at most 64 KiB and the piece that filled them.
    if (seen.length < events.join("").length - 100_000) expect(gateway.openCalls).toBe(1);
  }
  expect(seen).toBe(events.join(""));
  expect([gateway.openCalls, records.calls.length]).toEqual([0, 2]);

  await (await call()).body?.cancel();
  expect(gateway.openCalls).toBe(0);
  expect(records.calls[2]).toMatchObject({ cacheHit: true, outcome: "partial", costNanoUsd: 0, outputTokens: 0 });
  expect(await (await call()).text()).toBe(events.join(""));
  expect(upstream.received).toHaveLength(1);
});

test("an answer that has had its time is let go, whether anybody asks for it or not", async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const clock = new ManualClock();
  const store = new MemoryAnswerStore({ clock });
  const answer = { status: 200, reason: "OK", rawHeaders: [], body: Buffer.alloc(1_000), streamed: false };
  store.keep("key", { ...answer, model: null, stopReason: null, requestId: null, keptAtMs: clock.now() }, 60);
  expect(store.bytes).toBeGreaterThan(1_000);
  clock.advance(60_001);
  vi.advanceTimersByTime(60_001);
  expect(store.bytes).toBe(0);
});
