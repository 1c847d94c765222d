import type { ServerResponse } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { DEFAULT_GATEWAY_SETTINGS } from "../../lib/access/schema.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import type { TrafficMode } from "../../lib/traffic/schema.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { type Door, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { messageAnswer, startUpstream } from "../support/upstream.ts";

const MODEL = "claude-opus-5-5";
const POOL = "opus-5.5";
const LIMITS = { requests: 60, input_tokens: 10_000_000, output_tokens: 2_000_000 };
const REQUEST = { model: MODEL, max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }] };
/** Another model may answer, where calls are held. */
const SETTINGS = { ...DEFAULT_GATEWAY_SETTINGS, fallbacks: [{ model: MODEL, to: "claude-haiku-4-5", waitS: 30 }] };
const UNHELD = ["observe", "off"] as const;

async function openGateway(door: Door, upstreamUrl: string, mode: TrafficMode) {
  const controller = new TrafficController({ random: () => 0.5, mode });
  const desk = new TrafficDesk({ controller, clock: systemClock, expected: () => LIMITS });
  onTestFinished(() => desk.close());
  const gateway = await openDoor(door, upstreamUrl, { traffic: desk, settings: { current: SETTINGS } });
  onTestFinished(gateway.close);
  return { ...gateway, desk };
}

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  /** A gateway before the simulated API, whose pool takes 60 calls and then one a second. */
  async function start(mode: TrafficMode) {
    const simulator = await startSimulator({ limits: { [POOL]: LIMITS } });
    onTestFinished(simulator.close);
    const gateway = await openGateway(door, simulator.url, mode);
    const client = new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test", maxRetries: 0 });
    const call = () => client.messages.create(REQUEST).catch(statusOf);
    const callTimes = (count: number) => Promise.all(Array.from({ length: count }, () => call()));
    const rows = () => gateway.records.calls.map(({ traffic }) => traffic);
    return { ...gateway, simulator, call, callTimes, rows };
  }

  /** A gateway before an upstream that answers as told. */
  async function script(mode: TrafficMode, answer: (res: ServerResponse) => void) {
    const upstream = await startUpstream(answer);
    onTestFinished(upstream.close);
    const gateway = await openGateway(door, upstream.url, mode);
    const post = (signal?: AbortSignal) =>
      fetch(`${gateway.url}/v1/messages`, {
        ...{ method: "POST", headers: { "x-api-key": "sk-ant-test" }, body: JSON.stringify(REQUEST) },
        ...(signal ? { signal } : {}),
      });
    return { ...gateway, upstream, post };
  }

  test("enforced, no call meets the limit", async () => {
    const { simulator, callTimes, rows } = await start("enforce");
    const answers = await callTimes(58);
    expect(answers.every((answer) => typeof answer === "object")).toBe(true);
    expect(simulator.ledger.entries.filter(({ status }) => status === 429)).toEqual([]);
    expect(rows().some((row) => (row?.waitS ?? 0) > 0 && row?.heldBy?.limiter === "requests")).toBe(true);
  });

  test("observed, every call goes at once, the upstream's 429s are the clients', and rows say who would have waited", async () => {
    const { simulator, callTimes, rows, records } = await start("observe");
    const answers = await callTimes(70);
    const refused = simulator.ledger.entries.filter(({ status }) => status === 429).length;
    expect(refused).toBeGreaterThan(0);
    expect(answers.filter((answer) => answer === 429)).toHaveLength(refused);
    expect(records.calls.filter(({ status }) => status === 429)).toHaveLength(refused);
    expect(simulator.ledger.entries).toHaveLength(70);
    for (const row of rows()) expect(row).toMatchObject({ mode: "observe", waitS: 0, attempts: 1 });
    const held = rows().filter((row) => row?.heldBy !== null);
    expect(held.length).toBeGreaterThan(0);
    for (const row of held) expect(row?.wouldWaitS).toBeGreaterThan(0);
  });

  test("off, every call goes at once, unjudged", async () => {
    const { simulator, callTimes, rows, desk } = await start("off");
    const answers = await callTimes(70);
    const refused = simulator.ledger.entries.filter(({ status }) => status === 429).length;
    expect(refused).toBeGreaterThan(0);
    expect(answers.filter((answer) => answer === 429)).toHaveLength(refused);
    for (const row of rows()) {
      expect(row).toMatchObject({ mode: "off", waitS: 0, wouldWaitS: null, heldBy: null, attempts: 1 });
    }
    await expect.poll(() => desk.snapshot().open).toBe(0);
    expect(desk.snapshot().counts).toMatchObject({ arrived: 70, admitted: 70, canceled: 0, requeued: 0 });
  });

  test.each(UNHELD)("set to %s, what waits goes at once and is answered", async (mode) => {
    const { desk, callTimes, rows } = await start("enforce");
    const answers = callTimes(70);
    await expect.poll(() => desk.snapshot().waiting).toBeGreaterThan(5);
    desk.setModes("enforce", { [POOL]: mode });
    expect(desk.snapshot().waiting).toBe(0);
    expect(await answers).toHaveLength(70);
    expect(rows().filter((row) => row?.mode === mode).length).toBeGreaterThan(5);
    expect(desk.snapshot().queues).toMatchObject([{ pool: POOL, mode }]);
  });

  test.each(UNHELD)(
    "under %s a refusal comes as the upstream sent it, asked once, and of no other model",
    async (mode) => {
      const body = '{"type":"error",\n "error":{"type":"rate_limit_error","message":"Slow down"}}\n';
      const { post, upstream, records } = await script(mode, (res) => {
        res.writeHead(429, "Too Many", { "content-type": "application/json", "retry-after": "1", "x-odd": "1" });
        res.end(body);
      });
      const answer = await post();
      expect([answer.status, answer.statusText, await answer.text()]).toEqual([429, "Too Many", body]);
      expect([answer.headers.get("retry-after"), answer.headers.get("x-odd")]).toEqual(["1", "1"]);
      expect(upstream.received).toHaveLength(1);
      expect(await records.only()).toMatchObject({ status: 429, outcome: "refused", traffic: { mode } });
    },
  );

  test.each(UNHELD)("under %s a refusal that breaks off arrives as far as it came, and broken off", async (mode) => {
    const { post, records } = await script(mode, (res) => {
      res.writeHead(503, { "content-type": "application/json", "content-length": "100" });
      res.write('{"type":"err', () => res.destroy());
    });
    const answer = await post();
    expect(answer.status).toBe(503);
    await expect(answer.text()).rejects.toThrow();
    expect(await records.only()).toMatchObject({ status: 503, outcome: "failed" });
  });

  test.each(UNHELD)("under %s a spent cap stops no call", async (mode) => {
    const { simulator, call } = await start(mode);
    simulator.setFaults({ "spend-cap": 1 });
    expect([await call(), await call()]).toEqual([429, 429]);
    expect(simulator.ledger.entries).toHaveLength(2);
  });

  test.each(UNHELD)("under %s a caller that leaves takes its call with it", async (mode) => {
    const { post, records, desk } = await script(mode, () => {});
    const gone = new AbortController();
    const left = post(gone.signal).catch(() => "left");
    await expect.poll(() => desk.snapshot().open).toBe(1);
    gone.abort();
    expect(await left).toBe("left");
    expect(await records.only()).toMatchObject({ outcome: "canceled", traffic: { mode } });
    expect(desk.snapshot()).toMatchObject({ open: 0, counts: { canceled: 1 } });
  });

  test.each(UNHELD)("under %s a shutdown lets open calls end", async (mode) => {
    const open: ServerResponse[] = [];
    const { post, gateway, records } = await script(mode, (res) => open.push(res));
    const answer = post();
    await expect.poll(() => open.length).toBe(1);
    const closed = gateway.close(30_000);
    open[0]?.setHeader("content-type", "application/json").end(JSON.stringify(messageAnswer()));
    expect(await (await answer).json()).toMatchObject({ type: "message" });
    await closed;
    expect(await records.only()).toMatchObject({ outcome: "succeeded", inputTokens: 12 });
  });
});

function statusOf(error: unknown): number {
  return error instanceof Anthropic.APIError && typeof error.status === "number" ? error.status : Number.NaN;
}
