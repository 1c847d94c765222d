import Anthropic from "@anthropic-ai/sdk";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { DEFAULT_AGENT_SETTINGS } from "../../lib/access/schema.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { ManualClock, systemClock } from "../../lib/kit/clock.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import type { CallRecord } from "../../lib/usage/schema.ts";
import { AGENT_KEY, AGENT_KEY_ID, type Door, type OpenDoor, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";

const MODEL = "claude-opus-5-5";
const POOL = "opus-5.5";

let open: { simulator: Simulator; gateway: OpenDoor; desk: TrafficDesk } | null = null;

afterEach(async () => {
  open?.desk.close();
  await open?.gateway.close();
  await open?.simulator.close();
  open = null;
});

type Limits = { requests: number; input_tokens: number; output_tokens: number };
const ROOMY: Limits = { requests: 10_000, input_tokens: 10_000_000, output_tokens: 2_000_000 };

/** `expected` are the limits that are known before the first answer: the simulator's own, or what it is thought to have. */
async function start(door: Door, limits: Limits = ROOMY, expected = limits) {
  const simulator = await startSimulator({ limits: { [POOL]: limits } });
  const desk = new TrafficDesk({
    controller: new TrafficController({ random: () => 0.5 }),
    clock: systemClock,
    expected: () => expected,
  });
  const gateway = await openDoor(door, simulator.url, { traffic: desk, believeLabels: true });
  open = { simulator, gateway, desk };
  const client = new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test", maxRetries: 0 });
  const call = (headers: Record<string, string> = {}, stream = false, signal?: AbortSignal) => {
    const request = { model: MODEL, max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };
    const options = { headers, ...(signal ? { signal } : {}) };
    return stream ? client.messages.stream(request, options).finalMessage() : client.messages.create(request, options);
  };
  return { simulator, gateway, desk, call };
}

const refusedUpstream = (simulator: Simulator) =>
  simulator.ledger.entries.filter(({ status }) => status === 429).length;
const explained = (records: readonly CallRecord[]) => records.map(({ traffic }) => traffic);

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  test("calls beyond the limit wait for room instead of failing", async () => {
    const { simulator, gateway, call } = await start(door, { ...ROOMY, requests: 600 });
    const answers = await Promise.all(Array.from({ length: 612 }, (_, index) => call({}, index % 2 === 0)));
    expect(answers.every(({ type }) => type === "message")).toBe(true);
    expect(refusedUpstream(simulator)).toBe(0);
    const [longest] = [...gateway.records.calls].sort((a, b) => b.waitMs - a.waitMs);
    expect(longest?.waitMs).toBeGreaterThan(0);
    expect(longest?.traffic).toMatchObject({ mode: "enforce", heldBy: { limiter: "requests" }, attempts: 1 });
  });

  test("calls in the shape of OpenAI's wait for the same room", async () => {
    const { simulator, gateway } = await start(door, { ...ROOMY, requests: 600 });
    const ask = () =>
      fetch(`${gateway.url}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization: "Bearer sk-ant-test", "content-type": "application/json" },
        body: JSON.stringify({ model: MODEL, max_completion_tokens: 50, messages: [{ role: "user", content: "hi" }] }),
      });
    const answers = await Promise.all(Array.from({ length: 606 }, ask));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(refusedUpstream(simulator)).toBe(0);
    const [longest] = [...gateway.records.calls].sort((a, b) => b.waitMs - a.waitMs);
    expect(longest?.traffic).toMatchObject({ mode: "enforce", heldBy: { limiter: "requests" }, attempts: 1 });
  });

  test("calls that come before the first answer wait for it, where the limits are lower than was thought", async () => {
    const { simulator, desk, call } = await start(door, { ...ROOMY, requests: 50 }, ROOMY);
    const gone = new AbortController();
    const slow = { "x-simulator-first-token-ms": "300" };
    const calls = Array.from({ length: 100 }, () => call(slow, false, gone.signal).catch(() => null));
    await expect.poll(() => simulator.ledger.entries.length).toBeGreaterThan(40);
    await expect.poll(() => desk.snapshot().open).toBe(0);
    gone.abort();
    await Promise.all(calls);
    expect(refusedUpstream(simulator)).toBe(0);
  });

  test("an upstream's 429 is never the client's: the call goes again when there is room", async () => {
    const { simulator, gateway, call } = await start(door, { ...ROOMY, input_tokens: 600_000 });
    simulator.drain(POOL, { input_tokens: 600_000 });
    const message = await call({ "x-simulator-input-tokens": "5000" });
    expect(message.usage.input_tokens).toBe(5_000);
    expect(refusedUpstream(simulator)).toBeGreaterThan(0);
    expect(gateway.records.calls).toHaveLength(1);
    expect(gateway.records.calls[0]).toMatchObject({ status: 200, outcome: "succeeded" });
    expect(explained(gateway.records.calls)[0]?.attempts).toBeGreaterThan(1);
  });

  test.each(["529", "500"])("a %s before the first byte is tried again", async (fault) => {
    const { simulator, call } = await start(door);
    await call();
    simulator.setFaults({ [fault]: 1 });
    const answer = call();
    await expect.poll(() => simulator.ledger.entries.length).toBe(2);
    simulator.setFaults({});
    expect(await answer).toMatchObject({ type: "message" });
    expect(simulator.ledger.entries.map(({ status }) => status)).toEqual([200, Number(fault), 200]);
  });

  test.each(["429-windowless", "500"])("a %s that does not end goes to its caller as it came", async (fault) => {
    const { simulator, call } = await start(door);
    await call();
    simulator.setFaults({ [fault]: 1 });
    const error = await call().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ status: fault === "500" ? 500 : 429 });
    expect(simulator.ledger.entries).toHaveLength(4);
  });

  test("a spend cap goes to its caller as it came, and the next call is refused without asking", async () => {
    const { simulator, call } = await start(door);
    simulator.setFaults({ "spend-cap": 1 });
    const first = await call().catch((error: unknown) => error);
    expect(first).toMatchObject({
      status: 429,
      error: { error: { details: { error_code: "enforced_spend_limit_reached" } } },
    });
    const second = await call().catch((error: unknown) => error);
    expect(second).toMatchObject({ status: 529, error: { error: { type: "overloaded_error" } } });
    expect((second as InstanceType<typeof Anthropic.APIError>).headers?.get("x-headroom-shed")).toBe(
      "upstream_stopped",
    );
    expect(simulator.ledger.entries).toHaveLength(1);
  });

  test("who waits longer than its deadline is told so in Anthropic's shape", async () => {
    const { simulator, gateway, call } = await start(door, { ...ROOMY, requests: 60 });
    await Promise.all(Array.from({ length: 55 }, () => call()));
    const late = await Promise.all(
      Array.from({ length: 12 }, () => call({ "x-headroom-deadline-ms": "300" }).catch((error: unknown) => error)),
    );
    const refused = late.filter((answer) => answer instanceof Anthropic.RateLimitError);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.headers?.get("x-headroom-shed")).toBe("deadline");
    expect(refused[0]?.headers?.get("retry-after")).toMatch(/^\d+$/);
    expect(refusedUpstream(simulator)).toBe(0);
    expect(gateway.records.calls.filter(({ refusal }) => refusal === "shed")).toHaveLength(refused.length);
  });

  test("an agent's calls wait no longer than its settings let them, whatever they ask for", async () => {
    const { simulator, desk, call } = await start(door, { ...ROOMY, requests: 60 });
    await Promise.all(Array.from({ length: 57 }, () => call()));
    const settings = { ...DEFAULT_AGENT_SETTINGS, maxWaitS: 0.3 };
    const agentKeys = { find: () => ({ id: AGENT_KEY_ID, name: "hasty", settings }) };
    const gateway = await openDoor(door, simulator.url, { traffic: desk, agentKeys, apiKey: "sk-ant-test" });
    const client = new Anthropic({ baseURL: gateway.url, apiKey: AGENT_KEY, maxRetries: 0 });
    const request = { model: MODEL, max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };
    const ask = (headers: Record<string, string>) =>
      client.messages.create(request, { headers }).catch((error) => error);
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, index) => ask(index % 2 ? { "x-headroom-deadline-ms": "60000" } : {})),
    );
    await gateway.close();
    const refused = answers.filter((answer) => answer instanceof Anthropic.RateLimitError);
    expect(refused.length).toBeGreaterThan(6);
    expect(refused.every(({ headers }) => headers?.get("x-headroom-shed") === "deadline")).toBe(true);
  });

  test("a caller that leaves the queue frees its place", async () => {
    const { desk, call } = await start(door, { ...ROOMY, requests: 60 });
    await Promise.all(Array.from({ length: 57 }, () => call()));
    const gone = new AbortController();
    const waiting = Array.from({ length: 6 }, () => call({}, false, gone.signal).catch(() => null));
    await expect.poll(() => desk.snapshot().waiting).toBeGreaterThan(0);
    gone.abort();
    await Promise.all(waiting);
    await expect.poll(() => desk.snapshot()).toMatchObject({ waiting: 0, open: 0 });
  });

  test("free endpoints never wait behind messages", async () => {
    const { desk, gateway, call } = await start(door, { ...ROOMY, requests: 60 });
    await Promise.all(Array.from({ length: 57 }, () => call()));
    const gone = new AbortController();
    const waiting = Array.from({ length: 6 }, () => call({}, false, gone.signal).catch(() => null));
    await expect.poll(() => desk.snapshot().waiting).toBeGreaterThan(0);
    const models = await new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test" }).models.list();
    expect(models.data.length).toBeGreaterThan(0);
    expect(desk.snapshot().waiting).toBeGreaterThan(0);
    gone.abort();
    await Promise.all(waiting);
  });
});

test("a call is given up after three faults in a row, however often limits and load had refused it before", () => {
  const clock = new ManualClock();
  const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock });
  onTestFinished(() => desk.close());
  let sent = 0;
  const waiter = { go: () => (sent += 1), shed: (refusal: unknown) => expect(refusal).toBeNull() };
  const id = desk.arrive(
    {
      ...{ group: "default", pool: POOL, lane: "standard", class: "normal", agent: "agent", model: MODEL },
      ...{ bytes: 100, maxTokens: 50, streams: false, deadlineS: 500 },
    },
    waiter,
  );
  if (id === null) throw new Error("it was refused at once");
  desk.pump();
  const refused = (status: number) => {
    const cause = { 429: "requests", 500: "upstream_fault", 529: "overloaded" } as const;
    const refusal = { status, cause: cause[status as keyof typeof cause], retryAfterS: status === 429 ? 1 : null };
    const isWaiting = desk.refused(id, "default", { ...refusal, limits: {} });
    clock.advance(40_000);
    desk.pump();
    return isWaiting;
  };
  expect([429, 429, 500, 529, 500, 500].map(refused)).toEqual(Array(6).fill(true));
  expect(sent).toBe(7);
  expect(refused(500)).toBe(false);
});
