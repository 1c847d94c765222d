import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { AGENT_KEY, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";

const MODEL = "claude-opus-5-5";
const POOL = "opus-5.5";
const LIMITS = { requests: 60, input_tokens: 10_000_000, output_tokens: 2_000_000 };
/** The second upstream's key; the first has the one of the environment. */
const KEYS = { anthropic: "sk-ant-upstream", second: "sk-ant-second" };
const UNREACHABLE = "http://127.0.0.1:1";

describe.each(UNLIKE_DOORS)("through the %s door, an agent key's calls", (door) => {
  async function start(change: { first?: SimulatorOptions; second?: SimulatorOptions; firstUrl?: string } = {}) {
    const simulate = async (name: keyof typeof KEYS, options?: SimulatorOptions) => {
      const simulator = await startSimulator({
        ...{ limits: { [POOL]: LIMITS }, organizationId: `org-of-${name}`, apiKeys: [KEYS[name], "sk-ant-own"] },
        ...options,
      });
      onTestFinished(simulator.close);
      return simulator;
    };
    const [first, second] = [await simulate("anthropic", change.first), await simulate("second", change.second)];
    const desk = new TrafficDesk({
      controller: new TrafficController({ random: () => 0.5 }),
      clock: systemClock,
      expected: () => LIMITS,
    });
    onTestFinished(() => desk.close());
    const own = { name: "anthropic", baseUrl: change.firstUrl ?? first.url, apiKey: KEYS.anthropic };
    const other = { name: "second", baseUrl: second.url, apiKey: KEYS.second };
    const upstreams = { callable: [own, other] };
    const gateway = await openDoor(door, own.baseUrl, { traffic: desk, upstreams });
    onTestFinished(gateway.close);
    const client = (apiKey = AGENT_KEY) => new Anthropic({ baseURL: gateway.url, apiKey, maxRetries: 0 });
    const call = (options: { agent?: string; apiKey?: string; content?: string; headers?: object } = {}) => {
      const { agent = "one", apiKey, content = "hi", headers } = options;
      const request = { model: MODEL, max_tokens: 50, messages: [{ role: "user" as const, content }] };
      const sent = { "x-claude-code-session-id": agent, ...headers };
      return client(apiKey).messages.create(request, { headers: sent }).withResponse();
    };
    const served = () => ({ first: first.ledger.sums.calls, second: second.ledger.sums.calls });
    return { first, second, own, other, desk, upstreams, gateway, client, call, served };
  }

  test("fill both upstreams before any waits, each by its own name and credential", async () => {
    const { call, served, gateway } = await start();
    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => call({ agent: `agent-${index}` })));
    expect(served()).toEqual({ first: expect.any(Number), second: expect.any(Number) });
    expect(served().first + served().second).toBe(100);
    expect(Math.min(served().first, served().second)).toBeGreaterThan(40);
    const named = answers.map(({ response }) => response.headers.get("x-headroom-upstream"));
    expect(named.filter((name) => name === "second")).toHaveLength(served().second);
    const rows = gateway.records.calls;
    expect(rows.filter(({ upstream }) => upstream === "second")).toHaveLength(served().second);
    expect(rows.every(({ upstream, traffic }) => traffic?.upstream === upstream)).toBe(true);
    expect(rows.every(({ outcome, traffic }) => outcome === "succeeded" && traffic?.attempts === 1)).toBe(true);
    const places = new Set(gateway.observed.map(({ place }) => place.upstream));
    expect([...places].sort()).toEqual(["anthropic", "second"]);
  });

  test("of one session stay with the upstream that has its prompts in the cache", async () => {
    const { call, served, gateway } = await start();
    for (let turn = 0; turn < 8; turn += 1) await call();
    expect([served().first, served().second].sort()).toEqual([0, 8]);
    expect(gateway.records.calls.at(-1)?.traffic).toMatchObject({ upstreamReason: "cache" });
  });

  test.each([["refuses all for its spend cap", { "spend-cap": 1 }] as const, ["is overloaded", { "529": 1 }] as const])(
    "go to the other upstream when one %s",
    async (_, faults) => {
      const { call, first, served } = await start();
      first.setFaults(faults);
      for (let turn = 0; turn < 12; turn += 1) await call({ agent: `agent-${turn}` });
      expect(served().second).toBe(12);
    },
  );

  test("go to the other upstream when one does not know its key, which is then left alone", async () => {
    const { call, first, served } = await start({ first: { apiKeys: ["sk-ant-another"] } });
    for (let turn = 0; turn < 12; turn += 1) await call({ agent: `agent-${turn}` });
    expect(served().second).toBe(12);
    expect(first.ledger.sums.byStatus["401"] ?? 0).toBeLessThanOrEqual(1);
  });

  test("go to the other upstream when one was never there", async () => {
    const { call, served, client } = await start({ firstUrl: UNREACHABLE });
    for (let turn = 0; turn < 12; turn += 1) await call({ agent: `agent-${turn}` });
    expect(served().second).toBe(12);
    // What is not held, and so not tried again, goes past it too.
    const counted = await client().messages.countTokens({ model: MODEL, messages: [{ role: "user", content: "hi" }] });
    expect(counted.input_tokens).toBeGreaterThan(0);
  });

  test("that meet an upstream dying go on at the other, and the place they left is cleared", async () => {
    const { call, first, served, gateway } = await start();
    await Promise.all(Array.from({ length: 45 }, (_, index) => call({ agent: `agent-${index}` })));
    const before = served().second;
    await first.close();
    await Promise.all(Array.from({ length: 20 }, (_, index) => call({ agent: `agent-${index}` })));
    expect(served().second).toBe(before + 20);
    const rows = gateway.records.calls.slice(45);
    const moved = rows.filter(({ traffic }) => (traffic?.attempts ?? 0) > 1);
    expect(moved.length).toBeGreaterThan(0);
    expect(moved.every(({ upstream, status }) => upstream === "second" && status === 200)).toBe(true);
    const kinds = (kind: string) => gateway.live.filter((event) => event.kind === kind).length;
    expect(kinds("open")).toBe(kinds("leave") + kinds("close"));
    expect(kinds("leave")).toBe(moved.length);
  });

  test("draw on one ledger where both keys are of one organisation", async () => {
    const organizationId = "org-common";
    const { call, served, gateway } = await start({ first: { organizationId }, second: { organizationId } });
    await Promise.all(Array.from({ length: 45 }, (_, index) => call({ agent: `agent-${index}` })));
    const before = served();
    expect(Math.min(before.first, before.second)).toBeGreaterThan(0);
    await Promise.all(Array.from({ length: 20 }, (_, index) => call({ agent: `agent-${index}` })));
    await call({ apiKey: "sk-ant-own" });
    const [used] = new Set(gateway.records.calls.slice(45).map(({ upstream }) => upstream));
    expect(gateway.records.calls.slice(45).every(({ upstream }) => upstream === used)).toBe(true);
    const after = served();
    expect([after.first - before.first, after.second - before.second].sort()).toContain(used === "second" ? 20 : 0);
  });

  test("about files, batches and containers go to the first upstream, where these are", async () => {
    const { call, client, served, own, second } = await start();
    const fileCalls = ["files-api-2025-04-14", "code-execution-2025-08-25,skills-2025-10-02"];
    for (const betas of fileCalls) await call({ agent: betas, headers: { "anthropic-beta": betas } });
    const file = [{ type: "document", source: { type: "file", file_id: "file_1" } }];
    for (let turn = 0; turn < 6; turn += 1) {
      await client()
        .post("/v1/messages", {
          body: { model: MODEL, max_tokens: 5, messages: [{ role: "user", content: file }] },
          headers: { "x-claude-code-session-id": `file-${turn}` },
        })
        .catch((error: unknown) => expect(error).toBeInstanceOf(Anthropic.APIError));
      await client().messages.batches.list();
    }
    expect(own.name).toBe("anthropic");
    expect(second.ledger.sums.calls).toBe(0);
    expect(served().first).toBeGreaterThanOrEqual(14);
  });

  test("of a caller with a credential of its own never go to another upstream or with another's key", async () => {
    const { call, first, second, served } = await start();
    first.setFaults({ "spend-cap": 1 });
    const refused = await call({ apiKey: "sk-ant-own" }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 429 });
    expect(served()).toEqual({ first: 1, second: 0 });
    expect(second.ledger.sums.calls).toBe(0);
  });

  describe("that wait", () => {
    type Started = Awaited<ReturnType<typeof start>>;

    /** Calls that wait because whoever they are sent to is overloaded, and then no more. */
    async function waiting({ call, desk, first, second }: Started) {
      for (const simulator of [first, second]) simulator.setFaults({ "529": 1 });
      const calls = Array.from({ length: 8 }, (_, index) => call({ agent: `agent-${index}` }));
      await expect.poll(() => desk.snapshot().waiting).toBe(8);
      for (const simulator of [first, second]) simulator.setFaults({});
      return calls;
    }

    const upstreamsOf = async (calls: ReturnType<Started["call"]>[]) =>
      new Set((await Promise.all(calls)).map(({ response }) => response.headers.get("x-headroom-upstream")));

    test("for one of two go to the other when that one is taken away", async () => {
      const started = await start();
      const calls = await waiting(started);
      started.upstreams.callable = [started.other];
      expect(await upstreamsOf([...calls, started.call({ agent: "late" })])).toEqual(new Set(["second"]));
    });

    test("for the only one go to the one that takes its place", async () => {
      const started = await start();
      started.upstreams.callable = [started.own];
      const calls = await waiting(started);
      started.upstreams.callable = [started.other];
      expect(await upstreamsOf([...calls, started.call({ agent: "late" })])).toEqual(new Set(["second"]));
    });

    test("are served when the upstreams turn out to be of one organisation", async () => {
      const organizationId = "org-common";
      const started = await start({ first: { organizationId }, second: { organizationId } });
      expect(await upstreamsOf(await waiting(started))).toEqual(new Set(["anthropic"]));
    });
  });

  test("follow what operators change while the gateway runs", async () => {
    const { call, upstreams, own, other, served, first } = await start();
    upstreams.callable = [own];
    for (let turn = 0; turn < 6; turn += 1) await call({ agent: `agent-${turn}` });
    expect(served()).toEqual({ first: 6, second: 0 });
    upstreams.callable = [other];
    for (let turn = 0; turn < 6; turn += 1) await call({ agent: `agent-${turn}` });
    expect(served()).toEqual({ first: 6, second: 6 });
    upstreams.callable = [];
    const refused = await call().catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 503, error: { error: { type: "api_error" } } });
    upstreams.callable = [own, other];
    first.setFaults({ "529": 1 });
    await call({ agent: "another" });
    expect(served().second).toBe(7);
  });
});
