import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { DEFAULT_GATEWAY_SETTINGS, GatewaySettings } from "../../lib/access/schema.ts";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { AGENT_KEY, openDoor, UNLIKE_DOORS } from "../support/gateway.ts";
import { messageAnswer, startUpstream } from "../support/upstream.ts";

const ASKED = "claude-opus-5-5";
const OTHER = "claude-sonnet-5-5";
const ROOMY = { requests: 10_000, input_tokens: 10_000_000, output_tokens: 2_000_000 };
const rule = (change: object = {}) => ({ model: "claude-opus-5*", to: OTHER, waitS: 1, ...change });

describe.each(UNLIKE_DOORS)("through the %s door, a call whose model has no room", (door) => {
  async function start(fallbacks: object[] = [rule()], options: { guard?: "sonnetForbidden" } = {}) {
    const simulator = await startSimulator({ limits: { "opus-5.5": ROOMY, "sonnet-5.5": ROOMY } });
    onTestFinished(simulator.close);
    const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock: systemClock });
    onTestFinished(() => desk.close());
    const denial = { admitted: false as const, reason: "model" as const, message: "no", retryAfterS: null };
    const lease = { settle() {}, release() {} };
    const guard = {
      admit: ({ model }: { model: string | null }) => (model === OTHER ? denial : { admitted: true as const, lease }),
      judgeAgent: () => null,
      judgeCall: () => null,
      readsBodies: () => true,
    };
    const gateway = await openDoor(door, simulator.url, {
      traffic: desk,
      settings: { current: GatewaySettings.parse({ ...DEFAULT_GATEWAY_SETTINGS, fallbacks }) },
      ...(options.guard ? { guard } : {}),
    });
    onTestFinished(gateway.close);
    const client = new Anthropic({ baseURL: gateway.url, apiKey: AGENT_KEY, maxRetries: 0 });
    const call = (headers: Record<string, string> = {}, change: object = {}) => {
      const request = { model: ASKED, max_tokens: 50, messages: [{ role: "user" as const, content: "hi" }], ...change };
      return client.messages.create(request, { headers }).withResponse();
    };
    /** Nothing is left of the asked model's input; a first call has told so. */
    const drain = async () => {
      await call();
      simulator.drain("opus-5.5", { input_tokens: ROOMY.input_tokens + 2_000_000 });
      await call({ "x-headroom-deadline-ms": "50", "x-headroom-fallback": "off" }).catch(() => {});
    };
    const served = () => simulator.ledger.entries.filter(({ status }) => status === 200).map(({ model }) => model);
    return { simulator, gateway, desk, call, drain, served };
  }

  test("is answered by another one where a rule says so, and told which", async () => {
    const { call, drain, served, gateway, simulator } = await start();
    await drain();
    const { data, response } = await call();
    expect(data.model).toBe(OTHER);
    expect(response.headers.get("x-headroom-fallback")).toBe(`${ASKED} -> ${OTHER}`);
    expect(served()).toEqual([ASKED, OTHER]);
    const row = gateway.records.calls.at(-1);
    expect(row).toMatchObject({ model: OTHER, pool: "sonnet-5.5", outcome: "succeeded" });
    expect(row?.traffic).toMatchObject({ fallbackFrom: ASKED });
    expect(row?.waitMs).toBeGreaterThan(900);
    const output = gateway.records.calls.reduce((sum, { outputTokens }) => sum + outputTokens, 0);
    expect(output).toBe(simulator.ledger.sums.usage.output);
  });

  test("keeps its model where no rule is for it, or its caller does not want another", async () => {
    const { call, drain, served } = await start([rule({ model: "claude-haiku-5-5" }), rule({ to: ASKED })]);
    await drain();
    const late = { "x-headroom-deadline-ms": "200" };
    expect(await call(late).catch((error: unknown) => error)).toMatchObject({ status: 429 });
    const declined = await start();
    await declined.drain();
    const off = { ...late, "x-headroom-fallback": "off" };
    expect(await declined.call(off).catch((error: unknown) => error)).toMatchObject({ status: 429 });
    expect([...served(), ...declined.served()]).toEqual([ASKED, ASKED]);
  });

  test("keeps its model in a conversation that is signed for it", async () => {
    const { call, drain, served } = await start();
    await drain();
    const messages = [
      { role: "user", content: "hi" },
      { role: "assistant", content: [{ type: "thinking", thinking: "so", signature: "c2ln" }] },
      { role: "user", content: "go on" },
    ];
    const refused = await call({ "x-headroom-deadline-ms": "1200" }, { messages }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 429 });
    expect(served()).toEqual([ASKED]);
  });

  test("keeps its model where its agent may not use the other", async () => {
    const { call, drain, served, gateway } = await start([rule()], { guard: "sonnetForbidden" });
    await drain();
    expect(await call().catch((error: unknown) => error)).toMatchObject({ status: 429 });
    expect(served()).toEqual([ASKED]);
    expect(gateway.records.calls.at(-1)).toMatchObject({ model: ASKED, refusal: "shed" });
    expect(gateway.records.calls.at(-1)?.traffic?.fallbackFrom).toBeNull();
  });

  test("is not kept for later callers when another one answers", async () => {
    const { call, drain, gateway } = await start();
    await drain();
    const cached = { "x-headroom-cache": "60" };
    const request = { temperature: 0 };
    const send = () =>
      fetch(`${gateway.url}/v1/messages`, {
        method: "POST",
        headers: { "x-api-key": AGENT_KEY, "anthropic-version": "2023-06-01", ...cached },
        body: JSON.stringify({ model: ASKED, max_tokens: 5, messages: [{ role: "user", content: "hi" }], ...request }),
      });
    expect((await send()).headers.get("x-headroom-cache")).toBe("miss");
    expect((await send()).headers.get("x-headroom-cache")).toBe("miss");
    expect(gateway.records.calls.slice(-2).map(({ traffic }) => traffic?.fallbackFrom)).toEqual([ASKED, ASKED]);
    await call();
  });

  test("or whose servers are overloaded goes on with all else as it was, byte for byte", async () => {
    const upstream = await startUpstream((res, { body }) => {
      const isAsked = body.includes(ASKED);
      const overloaded = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
      res.writeHead(isAsked ? 529 : 200, { "content-type": "application/json" });
      res.end(JSON.stringify(isAsked ? overloaded : messageAnswer(undefined, { model: OTHER })));
    });
    onTestFinished(upstream.close);
    const desk = new TrafficDesk({ controller: new TrafficController({ random: () => 0.5 }), clock: systemClock });
    onTestFinished(() => desk.close());
    const settings = { current: GatewaySettings.parse({ ...DEFAULT_GATEWAY_SETTINGS, fallbacks: [rule()] }) };
    const gateway = await openDoor(door, upstream.url, { traffic: desk, settings });
    onTestFinished(gateway.close);
    const body = `{ "max_tokens":5,\n "model" : "${ASKED}", "unknown": [1.50, "\\u00e9"],"messages":[]  }`;
    const answer = await fetch(`${gateway.url}/v1/messages?beta=true`, {
      method: "POST",
      headers: { "x-api-key": "sk-ant-own", "content-type": "application/json" },
      body,
    });
    expect(answer.status).toBe(200);
    const last = upstream.received.at(-1);
    expect(last?.body.toString()).toBe(body.replace(ASKED, OTHER));
    expect(last?.headers["content-length"]).toBe(String(last?.body.length));
    const kinds = gateway.live.map(({ kind }) => kind).filter((kind) => kind !== "prompt" && kind !== "progress");
    expect(kinds).toEqual(["open", "leave", "open", "close"]);
    expect(gateway.records.calls).toHaveLength(1);
  });
});
