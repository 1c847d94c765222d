import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { type Access, createAccess } from "../../lib/access/access.ts";
import { estimateCall } from "../../lib/access/call-estimate.ts";
import type { AgentInput } from "../../lib/access/schema.ts";
import { readRequestHead } from "../../lib/anthropic/request-head.ts";
import { ManualClock, systemClock } from "../../lib/kit/clock.ts";
import type { Log } from "../../lib/kit/log.ts";
import { SecretBox } from "../../lib/kit/secret-box.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { DOORS, openDoor } from "../support/gateway.ts";
import { Random } from "../support/random.ts";
import { messageAnswer, messageEvents, startUpstream } from "../support/upstream.ts";

const UPSTREAM_KEY = "sk-ant-upstream-0123456789";
const box = new SecretBox(Buffer.alloc(32, 7));
const body = JSON.stringify({
  ...{ model: "claude-opus-5-5", max_tokens: 50 },
  messages: [{ role: "user", content: "How much room is left?" }],
});
const WORST = worstCaseOf(body);

let stored: TestDatabase;
let names = 0;

beforeAll(async () => {
  stored = await openTestDatabase();
});
afterAll(() => stored.close());

function estimateOf(text: string) {
  const bytes = Buffer.from(text);
  return estimateCall(bytes, readRequestHead(bytes), Date.now());
}

function worstCaseOf(text: string): number {
  return estimateOf(text).worstCaseNanoUsd ?? Number.NaN;
}

function startAccess(clock = systemClock): Access {
  const builtIn = { baseUrl: "http://upstream.test", apiKey: UPSTREAM_KEY };
  return createAccess({ database: stored.database, box, clock, builtIn });
}

describe.each(DOORS)("through the %s door", (door) => {
  type Options = { access?: Access; upstreamUrl?: string; log?: Log };

  async function open(answer: Parameters<typeof startUpstream>[0] = answerPlainly, options: Options = {}) {
    const upstream = await startUpstream(answer);
    onTestFinished(upstream.close);
    const access = options.access ?? startAccess();
    await access.refresh();
    const gateway = await openDoor(door, options.upstreamUrl ?? upstream.url, {
      ...{ agentKeys: access.agentKeys, guard: access.guard, settings: access.settings, apiKey: UPSTREAM_KEY },
      ...(options.log ? { log: options.log } : {}),
    });
    onTestFinished(gateway.close);
    const create = (settings: Omit<AgentInput, "name"> = {}) =>
      access.agentKeys.create({ name: `agent-${names++}`, ...settings });
    return { ...gateway, access, upstream, create };
  }

  const post = (url: string, secret: string, text = body, path = "/v1/messages") =>
    fetch(`${url}${path}`, {
      method: "POST",
      headers: { "x-api-key": secret, "anthropic-version": "2023-06-01", "content-type": "application/json" },
      body: text,
    });
  const refused = async (response: Response) => {
    const { error } = z.object({ error: z.object({}).loose() }).parse(await response.json());
    const header = (name: string) => response.headers.get(name);
    return { status: response.status, error, retry: header("x-should-retry"), after: header("retry-after") };
  };

  test("a key in x-api-key or as a bearer goes out as the upstream's, and neither row nor log has any key", async () => {
    const said: string[] = [];
    const say = (fields: object, message: string) => said.push(JSON.stringify([fields, message]));
    const log: Log = { debug: say, info: say, warn: say, error: say };
    const { url, upstream, records, access, create } = await open(answerPlainly, { log });
    const { agent, secret } = await create();
    expect((await post(url, secret)).status).toBe(200);
    const bearer = { authorization: `Bearer ${secret}` };
    expect((await fetch(`${url}/v1/messages`, { method: "POST", headers: bearer, body })).status).toBe(200);
    for (const { headers } of upstream.received) {
      expect(headers["x-api-key"]).toBe(UPSTREAM_KEY);
      expect(headers.authorization).toBeUndefined();
    }
    const calls = await records.atLeast(2);
    expect(calls).toMatchObject([agent.id, agent.id].map((agentKeyId) => ({ agentKeyId, agentSource: "key" })));

    const unknown = await post(url, `${secret.slice(0, -2)}xx`);
    await access.agentKeys.revoke(agent.id);
    const revoked = await post(url, secret);
    const texts = [await unknown.text(), await revoked.text()];
    await upstream.close();
    const { secret: other } = await create();
    texts.push(await (await post(url, other)).text());
    expect(said.length).toBeGreaterThan(0);
    await stored.database.call("calls_record", { rows: records.calls }, z.unknown());
    await access.refresh();
    const tables = await stored.sql(`
      select relname from pg_class where relnamespace = 'gateway'::regnamespace and relkind in ('r', 'p')`);
    expect(tables.length).toBeGreaterThan(10);
    for (const { relname } of tables) {
      texts.push(JSON.stringify(await stored.sql(`select to_jsonb(t) from gateway."${relname}" t`)));
    }
    for (const text of [...texts, ...said, JSON.stringify(records.calls)]) {
      for (const key of [secret, other, UPSTREAM_KEY]) expect(text).not.toContain(key.slice(9));
    }
  });

  test("an unknown key is refused for good, but only once agents are known", async () => {
    const { url, records, upstream } = await open();
    expect(await refused(await post(url, "hr_nobody"))).toMatchObject({
      ...{ status: 401, retry: "false", after: null },
      error: { type: "authentication_error" },
    });
    expect(await records.only()).toMatchObject({ status: 401, refusal: "authentication", outcome: "refused" });

    const unread = startAccess();
    const starting = await openDoor(door, upstream.url, { agentKeys: unread.agentKeys });
    onTestFinished(starting.close);
    expect(await refused(await post(starting.url, "hr_nobody"))).toMatchObject({
      status: 503,
      retry: null,
      after: "1",
    });
    expect(upstream.received).toEqual([]);
  });

  test("old and new key work while a rotation overlaps, and then the new one alone", async () => {
    const clock = new ManualClock(Date.now());
    const { url, access, create } = await open(answerPlainly, { access: startAccess(clock) });
    const { agent, secret } = await create();
    const { secret: next } = await access.agentKeys.rotate(agent.id, { overlapHours: 1 });
    expect([(await post(url, secret)).status, (await post(url, next)).status]).toEqual([200, 200]);
    clock.advance(3_600_000);
    expect([(await post(url, secret)).status, (await post(url, next)).status]).toEqual([401, 200]);
  });

  test("a key revoked in another instance stops with the next refresh", async () => {
    const { url, access, create } = await open();
    const { agent, secret } = await create();
    const elsewhere = startAccess();
    await elsewhere.agentKeys.revoke(agent.id);
    expect((await post(url, secret)).status).toBe(200);
    await access.refresh();
    expect((await post(url, secret)).status).toBe(401);
  });

  test("a model that is not allowed is refused before anything is sent, and the row says by whom", async () => {
    const { url, upstream, records, create } = await open();
    const { agent, secret } = await create({ allowedModels: ["claude-haiku-*"] });
    expect(await refused(await post(url, secret))).toEqual({
      ...{ status: 403, retry: "false", after: null },
      error: {
        type: "permission_error",
        message: `Agent ${agent.name} may not use claude-opus-5-5; it may use claude-haiku-*.`,
        details: { error_code: "headroom_model" },
      },
    });
    expect((await post(url, secret, body.replace("opus-5-5", "haiku-4-5"))).status).toBe(200);
    expect(upstream.received).toHaveLength(1);
    const [call] = await records.atLeast(2);
    expect(call).toMatchObject({
      ...{ status: 403, outcome: "refused", refusal: "permission", errorCode: "headroom_model" },
      ...{ model: "claude-opus-5-5", pool: "opus-5.5", agentKeyId: agent.id, costNanoUsd: 0 },
    });
  });

  test("beyond its requests a minute an agent's SDK raises at once and does not try again", async () => {
    const { url, upstream, create } = await open();
    const { agent, secret } = await create({ requestsPerMinute: 2 });
    const client = new Anthropic({ baseURL: url, apiKey: secret, maxRetries: 5, logLevel: "off" });
    const call = () => client.messages.create(JSON.parse(body));
    await call();
    await call();
    const error = await call().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Anthropic.RateLimitError);
    expect(String(error)).toContain(`Agent ${agent.name} has reached its cap of 2 requests a minute`);
    expect(upstream.received).toHaveLength(2);
    expect(await refused(await post(url, secret))).toMatchObject({
      ...{ status: 429, retry: "false", after: expect.stringMatching(/^(60|5\d)$/) },
      error: { type: "rate_limit_error", details: { error_code: "headroom_requests" } },
    });
  });

  test.each([
    ["agent_requests", { requestsPerMinute: 1 }],
    ["agent_input_tokens", { inputTokensPerMinute: 1 }],
    ["agent_output_tokens", { outputTokensPerMinute: 1 }],
    ["agent_budget", { dailyBudgetNanoUsd: 1 }],
  ])("what an agent's own settings refuse is told apart from the upstream's limits: %s", async (refusal, settings) => {
    const { url, records, create } = await open();
    const { secret } = await create(settings);
    for (let call = 0; call < 2; call++) await (await post(url, secret)).arrayBuffer();
    const [, refused] = await records.atLeast(2);
    expect(refused).toMatchObject({
      outcome: "refused",
      status: 429,
      refusal,
      errorCode: refusal.replace("agent", "headroom"),
    });
  });

  test("of 200 calls at once a budget for 50 lets 50 go out", async () => {
    const waiting: (() => void)[] = [];
    const { url, upstream, records, access, create } = await open((res) => {
      waiting.push(() => answerPlainly(res));
    });
    const { agent, secret } = await create({ dailyBudgetNanoUsd: 50 * WORST + WORST - 1 });
    const calls = Array.from({ length: 200 }, () => post(url, secret));
    await records.atLeast(150);
    expect(access.guard.use(agent.id, Date.now())).toMatchObject({ openCalls: 50, reservedNanoUsd: 50 * WORST });
    const sent = new Promise<void>((resolve) => {
      const look = () => (waiting.length === 50 ? resolve() : setImmediate(look));
      look();
    });
    await sent;
    for (const answer of waiting.splice(0)) answer();
    const answers = await Promise.all(calls);
    const statuses = answers.map(({ status }) => status);
    expect([
      statuses.filter((status) => status === 200).length,
      statuses.filter((status) => status === 429).length,
    ]).toEqual([50, 150]);
    expect(upstream.received).toHaveLength(50);
    const first = answers.find(({ status }) => status === 429);
    expect(first && (await refused(first))).toMatchObject({
      ...{ retry: "false", after: "5" },
      error: { type: "billing_error", details: { error_code: "headroom_budget" } },
    });
    await Promise.all(answers.map((answer) => answer.bodyUsed || answer.arrayBuffer()));
    const cost = records.calls.reduce((sum, call) => sum + (call.costNanoUsd ?? 0), 0);
    expect(access.guard.use(agent.id, Date.now())).toMatchObject({
      ...{ openCalls: 0, reservedNanoUsd: 0, spentTodayNanoUsd: cost },
    });
    // What the first ones did not use is there for others.
    const later = post(url, secret);
    await records.atLeast(200).then(async () => {
      while (waiting.length === 0) await new Promise(setImmediate);
      waiting.pop()?.();
    });
    expect((await later).status).toBe(200);
  });

  test("against a real API no budget is ever passed, and a restart knows what was spent", async () => {
    const simulator = await startSimulator({ apiKeys: [UPSTREAM_KEY], seed: 3 });
    onTestFinished(() => simulator.close());
    const { url, records, access, create } = await open(answerPlainly, { upstreamUrl: simulator.url });
    const dailyBudgetNanoUsd = 12 * WORST;
    const { agent, secret } = await create({ dailyBudgetNanoUsd });
    const random = new Random(5);
    const call = async () => {
      const text = JSON.stringify({ ...JSON.parse(body), stream: random.next() < 0.5, max_tokens: 1 + random.int(50) });
      await (await post(url, secret, text)).arrayBuffer();
    };
    for (let wave = 0; wave < 5; wave++) {
      await Promise.all(Array.from({ length: 40 }, call));
      const { spentTodayNanoUsd, reservedNanoUsd } = access.guard.use(agent.id, Date.now());
      expect(spentTodayNanoUsd).toBeLessThanOrEqual(dailyBudgetNanoUsd);
      expect(reservedNanoUsd).toBe(0);
    }
    const cost = records.calls.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? 0), 0);
    expect(records.calls.some(({ status }) => status === 200)).toBe(true);
    expect(records.calls.some(({ errorCode }) => errorCode === "headroom_budget")).toBe(true);
    expect(access.guard.use(agent.id, Date.now()).spentTodayNanoUsd).toBe(cost);

    await stored.database.call("calls_record", { rows: records.calls }, z.unknown());
    const restarted = startAccess();
    await restarted.load();
    const ask = () =>
      restarted.guard.admit({
        ...{ agentId: agent.id, model: "claude-opus-5-5", nowMs: Date.now() },
        estimate: () => ({ inputTokens: 1, maxOutputTokens: 1, worstCaseNanoUsd: dailyBudgetNanoUsd - cost + 1 }),
      });
    expect(ask()).toMatchObject({ reason: "starting" });
    await restarted.refresh();
    expect(restarted.guard.use(agent.id, Date.now()).spentTodayNanoUsd).toBe(cost);
    expect(ask()).toMatchObject({ reason: "budget" });
  });

  const chat = { ...JSON.parse(body), max_tokens: undefined };
  const ANSWER_TOKENS = 4_000;
  test.each([
    ["/v1/chat/completions", { ...chat, max_completion_tokens: ANSWER_TOKENS }],
    ["/v1/chat/completions", { ...chat, max_tokens: 1, max_completion_tokens: ANSWER_TOKENS }],
    ["/v1/complete", { model: chat.model, prompt: "\n\nHuman: Hi\n\nAssistant:", max_tokens_to_sample: ANSWER_TOKENS }],
  ])("calls of %s that come together do not pass a budget, whatever they name their bound", async (path, request) => {
    const hasUsage = path !== "/v1/complete";
    const usage = { prompt_tokens: 20, completion_tokens: ANSWER_TOKENS };
    const { url, upstream, access, create } = await open((res) => {
      res.writeHead(200, { "content-type": "application/json" });
      res.end(JSON.stringify({ model: chat.model, ...(hasUsage ? { usage } : {}) }));
    });
    const text = JSON.stringify(request);
    const dailyBudgetNanoUsd = 3 * worstCaseOf(text);
    const { agent, secret } = await create({ dailyBudgetNanoUsd });
    await Promise.all(Array.from({ length: 40 }, async () => (await post(url, secret, text, path)).arrayBuffer()));
    const cost = 20 * 4_000 + ANSWER_TOKENS * 20_000;
    expect(upstream.received.length).toBeGreaterThanOrEqual(3);
    expect(upstream.received.length * cost).toBeLessThanOrEqual(dailyBudgetNanoUsd);
    const { spentTodayNanoUsd } = access.guard.use(agent.id, Date.now());
    expect(spentTodayNanoUsd).toBeGreaterThanOrEqual(upstream.received.length * cost);
    expect(spentTodayNanoUsd).toBeLessThanOrEqual(dailyBudgetNanoUsd);
  });

  test("a call that does not bound its answer is held at the longest that a model gives", async () => {
    const { url, upstream, create } = await open();
    const { secret } = await create({ dailyBudgetNanoUsd: 10 ** 9 });
    const text = JSON.stringify(chat);
    expect(await refused(await post(url, secret, text, "/v1/chat/completions"))).toMatchObject({
      ...{ status: 429, error: { message: expect.stringContaining("set a lower max_tokens") } },
    });
    expect(upstream.received).toEqual([]);
  });

  test("whichever way a call ends, nothing stays held", async () => {
    const events = messageEvents(["Hel", "lo"]);
    let at = 0;
    const { url, access, create, records } = await open((res) => {
      const way = at++ % 5;
      if (way === 0) answerPlainly(res);
      else if (way === 1) res.writeHead(529).end("{}");
      else if (way === 2) res.destroy();
      else {
        res.writeHead(200, { "content-type": "text/event-stream" });
        for (const event of events.slice(0, 4)) res.write(event);
        if (way === 3) setImmediate(() => res.destroy());
      }
    });
    const { agent, secret } = await create({ dailyBudgetNanoUsd: 1_000 * WORST, outputTokensPerMinute: 100_000 });
    for (let call = 0; call < 10; call++) {
      const abort = new AbortController();
      const headers = { "x-api-key": secret };
      const answer = await fetch(`${url}/v1/messages`, { method: "POST", headers, body, signal: abort.signal }).catch(
        () => null,
      );
      if (call % 5 === 4) {
        await answer?.body?.getReader().read();
        abort.abort();
      } else await answer?.arrayBuffer().catch(() => null);
    }
    await records.atLeast(10);
    expect(access.guard.use(agent.id, Date.now())).toMatchObject({ openCalls: 0, reservedNanoUsd: 0, requests: 10 });
    const known = records.calls.reduce((sum, { costNanoUsd }) => sum + (costNanoUsd ?? WORST), 0);
    expect(access.guard.use(agent.id, Date.now()).spentTodayNanoUsd).toBe(known);
  });

  test("hanging up before an answer has told its usage gives nothing back", async () => {
    const heads = new Map([
      ["/v1/messages", { "content-type": "application/json", "content-length": "500" }],
      ["/v1/chat/completions", { "content-type": "text/event-stream" }],
    ]);
    let arrived = () => {};
    const { url, access, create, records } = await open((res, { target }) => {
      const head = heads.get(target);
      if (head) res.writeHead(200, head).write("{");
      arrived();
    });
    const { inputTokens, maxOutputTokens } = estimateOf(body);
    const caps = { inputTokensPerMinute: 3 * inputTokens + 100, outputTokensPerMinute: 10_000 };
    const { agent, secret } = await create(caps);
    for (const path of ["/v1/messages", "/v1/chat/completions", "/v1/complete"]) {
      const abort = new AbortController();
      const reached = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      const headers = { "x-api-key": secret };
      const call = fetch(url + path, { method: "POST", headers, body, signal: abort.signal }).catch(() => null);
      if (heads.has(path)) await (await call)?.body?.getReader().read();
      await reached;
      abort.abort();
      await call;
    }
    const calls = await records.atLeast(3);
    expect(calls.map(({ outcome }) => outcome)).toEqual(["partial", "partial", "canceled"]);
    expect(access.guard.use(agent.id, Date.now())).toMatchObject({
      ...{ openCalls: 0, inputTokens: 3 * inputTokens, outputTokens: 3 * maxOutputTokens },
    });
    expect(await refused(await post(url, secret))).toMatchObject({
      error: { details: { error_code: "headroom_input_tokens" } },
    });
  });

  test("a chat that tells no usage counts what it was seen to produce, and its prompt at the most", async () => {
    const { url, access, create } = await open((res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      const event = { model: chat.model, choices: [{ index: 0, delta: { content: "x".repeat(32) } }] };
      res.end(`data: ${JSON.stringify(event)}\n\ndata: [DONE]\n\n`);
    });
    const { agent, secret } = await create({ outputTokensPerMinute: 100_000 });
    await (await post(url, secret, body, "/v1/chat/completions")).arrayBuffer();
    expect(access.guard.use(agent.id, Date.now())).toMatchObject({
      ...{ inputTokens: estimateOf(body).inputTokens, outputTokens: 10 },
    });
  });

  test("where a call's cost or model cannot be told beforehand, a bound agent is refused and another is not", async () => {
    const { url, create } = await open();
    const [free, budget, models] = [
      await create(),
      await create({ monthlyBudgetNanoUsd: 10 ** 12 }),
      await create({ allowedModels: ["claude-*"] }),
    ];
    const batch = (secret: string) => post(url, secret, "{}", "/v1/messages/batches");
    expect((await batch(free.secret)).status).toBe(200);
    expect(await refused(await batch(budget.secret))).toMatchObject({
      ...{ status: 403, retry: "false" },
      error: { type: "permission_error", details: { error_code: "headroom_unpriced" } },
    });
    expect(await refused(await batch(models.secret))).toMatchObject({
      error: { details: { error_code: "headroom_model" } },
    });
    expect((await fetch(`${url}/v1/models`, { headers: { "x-api-key": budget.secret } })).status).toBe(200);
  });

  test("a switched off agent may not even list models", async () => {
    const { url, create, upstream } = await open();
    const { secret } = await create({ enabled: false });
    const answer = await fetch(`${url}/v1/models`, { headers: { "x-api-key": secret } });
    expect(await refused(answer)).toMatchObject({
      status: 403,
      error: { details: { error_code: "headroom_disabled" } },
    });
    expect(upstream.received).toEqual([]);
  });

  test("the upstream's limits reach clients unless they are to be stripped, and are read either way", async () => {
    const { url, access, observed } = await open((res) => {
      res.writeHead(200, {
        ...{ "content-type": "application/json", "retry-after": "3", "request-id": "req_1" },
        ...{ "anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49" },
        ...{ "anthropic-priority-input-tokens-limit": "9", "x-ratelimit-limit-requests": "50" },
      });
      res.end(JSON.stringify(messageAnswer()));
    });
    const names = async () =>
      [...(await post(url, "sk-ant-mine")).headers.keys()].filter((name) => !/headroom/.test(name));
    const passed = await names();
    expect(passed).toContain("anthropic-ratelimit-requests-limit");
    expect(passed).toContain("x-ratelimit-limit-requests");
    await access.settings.update({ rateLimitHeaders: "strip" });
    const stripped = await names();
    await access.settings.update({ rateLimitHeaders: "pass" });
    expect(stripped.filter((name) => /limit|priority/.test(name))).toEqual([]);
    expect(stripped).toEqual(expect.arrayContaining(["retry-after", "request-id", "content-type"]));
    expect(observed).toHaveLength(2);
  });
});

function answerPlainly(res: Parameters<Parameters<typeof startUpstream>[0]>[0]): void {
  res.writeHead(200, { "content-type": "application/json" });
  res.end(JSON.stringify(messageAnswer({ input_tokens: 12, output_tokens: 7 })));
}
