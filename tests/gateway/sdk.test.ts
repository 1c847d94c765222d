import Anthropic from "@anthropic-ai/sdk";
import { describe, expect, onTestFinished, test } from "vitest";
import { type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";
import { AGENT_KEY, DOORS, openDoor } from "../support/gateway.ts";

/** The official SDK, unchanged but for its base URL, through Headroom to the simulated API; the books on both sides. */
describe.each(DOORS)("through the %s door", (door) => {
  async function open(options: SimulatorOptions = {}) {
    const simulator = await startSimulator(options);
    onTestFinished(simulator.close);
    const gateway = await openDoor(door, simulator.url);
    onTestFinished(gateway.close);
    const client = new Anthropic({ apiKey: AGENT_KEY, baseURL: gateway.url, maxRetries: 0 });
    return { ...gateway, simulator, client };
  }

  const ask = (content: string) => ({
    model: "claude-opus-5-5",
    max_tokens: 200,
    messages: [{ role: "user" as const, content }],
  });

  test.each([null, "gzip"] as const)(
    "plain calls and streams agree with the upstream's own books (encoding: %s)",
    async (encoding) => {
      const { client, simulator, records } = await open({ ...(encoding ? { encoding } : {}) });
      for (let index = 0; index < 5; index += 1) {
        const message = await client.messages.create(ask(`Question ${index}: ${"word ".repeat(index * 20)}`));
        expect(message.type).toBe("message");
        const stream = client.messages.stream(ask(`Streamed ${index}`));
        const final = await stream.finalMessage();
        expect(final.usage.output_tokens).toBeGreaterThan(0);
      }
      await simulator.idle();
      const { usage } = simulator.ledger.sums;
      const sum = (read: (call: (typeof records.calls)[number]) => number) =>
        records.calls.reduce((total, call) => total + read(call), 0);
      expect(records.calls).toHaveLength(10);
      expect({
        inputTokens: sum((call) => call.inputTokens),
        cacheWrite5m: sum((call) => call.cacheWrite5mTokens),
        cacheWrite1h: sum((call) => call.cacheWrite1hTokens),
        cacheRead: sum((call) => call.cacheReadTokens),
        output: sum((call) => call.outputTokens),
      }).toEqual(usage);
      expect(records.calls.map((call) => call.requestId).sort()).toEqual(
        simulator.ledger.entries.map((entry) => entry.requestId).sort(),
      );
      expect(records.calls.every((call) => call.costNanoUsd !== null && call.costNanoUsd > 0)).toBe(true);
      for (const call of records.calls) {
        const entry = simulator.ledger.entries.find(({ requestId }) => requestId === call.requestId);
        expect(call.rateLimitHeaders).toEqual(entry?.rateLimitHeaders);
        expect(call).toMatchObject({
          agent: "night-batch",
          agentSource: "key",
          pool: entry?.pool,
          outcome: "succeeded",
        });
      }
    },
  );

  test("the SDK raises the upstream's own error for a 429, with its headers", async () => {
    const { client, records } = await open({ limits: { "opus-5.5": { requests: 1 } } });
    const answers = await Promise.allSettled([client.messages.create(ask("a")), client.messages.create(ask("b"))]);
    const refused = answers.find((answer) => answer.status === "rejected");
    expect(refused?.reason).toBeInstanceOf(Anthropic.RateLimitError);
    expect(refused?.reason.headers.get("retry-after")).toMatch(/^\d+$/);
    expect(records.calls.find((call) => call.status === 429)).toMatchObject({
      outcome: "refused",
      refusal: "requests",
    });
  });

  test("the SDK raises what it knows for a refusal of Headroom's own, and does not try again", async () => {
    const { url, records } = await open();
    const client = new Anthropic({ apiKey: "hr_unknown", baseURL: url, maxRetries: 3 });
    await expect(client.messages.create(ask("a"))).rejects.toBeInstanceOf(Anthropic.AuthenticationError);
    expect(records.calls).toHaveLength(1);
  });

  test("whatever goes wrong upstream, every call is in the books once, with the upstream's own tokens", async () => {
    const { simulator, records, client } = await open({
      seed: 11,
      faults: { "529": 0.1, "500": 0.1, cut: 0.15, "error-event": 0.15, reset: 0.1, refusal: 0.1 },
    });
    for (let index = 0; index < 60; index += 1) {
      const call =
        index % 3 === 0
          ? client.messages.create(ask(`Question ${index}`))
          : client.messages.stream(ask(`Question ${index} ${"and so on ".repeat(index)}`)).finalMessage();
      await call.catch(() => {});
    }
    await simulator.idle();
    expect(records.calls).toHaveLength(60);
    expect(new Set(records.calls.map((call) => call.outcome))).toEqual(
      new Set(["succeeded", "partial", "refused", "failed"]),
    );
    const answered = records.calls.filter((call) => call.requestId !== null);
    for (const call of answered) {
      const entry = simulator.ledger.entries.find(({ requestId }) => requestId === call.requestId);
      if (call.outcome === "partial" && call.streamed) {
        expect(call.inputTokens).toBe(entry?.usage.inputTokens);
        // Cut before the upstream's last count: an estimate of what it had produced until then.
        expect(call.outputTokens).toBeGreaterThan(0.5 * (entry?.usage.output ?? 0));
        expect(call.outputTokens).toBeLessThan(2 * (entry?.usage.output ?? 0) + 10);
      } else if (call.outcome !== "partial") {
        expect(call).toMatchObject({ inputTokens: entry?.usage.inputTokens, outputTokens: entry?.usage.output });
        if (entry?.billed === false) expect(call.costNanoUsd).toBe(0);
      }
    }
    expect(answered.length).toBeGreaterThan(40);
  });

  test("counting tokens, models and their paging work as at the API", async () => {
    const { client, records } = await open();
    const counted = await client.messages.countTokens({ model: "claude-opus-5-5", messages: ask("hello").messages });
    expect(counted.input_tokens).toBeGreaterThan(0);
    const models = await client.models.list();
    expect(models.data.length).toBeGreaterThan(0);
    expect(records.calls.map((call) => call.costNanoUsd)).toEqual([0, 0]);
  });
});
