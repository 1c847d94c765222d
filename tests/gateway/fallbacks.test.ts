import { describe, expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { ManualClock } from "../../lib/kit/clock.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { LiveUsage } from "../../lib/usage/live-usage.ts";
import { DOORS, openDoor } from "../support/gateway.ts";

const FALLBACKS = "server-side-fallback-2026-07-01";

describe.each(DOORS)("through the %s door", (door) => {
  /** One call of Fable 5.1 with a prompt of 1,000 tokens, answered with 100. */
  async function call(stream: boolean, iterations: string) {
    const clock = new ManualClock();
    const simulator = await startSimulator({ clock });
    onTestFinished(simulator.close);
    const controller = new TrafficController({ random: () => 0.5 });
    const desk = new TrafficDesk({ controller, clock });
    onTestFinished(() => desk.close());
    const live = new LiveUsage({ clock });
    const gateway = await openDoor(door, simulator.url, { traffic: desk, live, clock });
    onTestFinished(gateway.close);
    const response = await fetch(`${gateway.url}/v1/messages`, {
      method: "POST",
      headers: {
        ...{ "x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01", "anthropic-beta": FALLBACKS },
        "content-type": "application/json",
        ...{ "x-simulator-iterations": iterations, "x-simulator-input-tokens": "1000" },
        "x-simulator-output-tokens": "100",
      },
      body: JSON.stringify({
        ...{ model: "claude-fable-5-1", max_tokens: 500, stream },
        messages: [{ role: "user", content: "hi" }],
      }),
    });
    expect(await response.text()).toContain('"fallback_message"');
    const record = await gateway.records.only();
    await simulator.idle();
    const [entry] = simulator.ledger.entries;
    const billed = { inputTokens: entry?.usage.inputTokens, outputTokens: entry?.usage.output };
    const second = clock.now() / 1000;
    const used = Object.fromEntries(
      live.pools().map(({ key, pool }) => {
        const of = (limiter: "requests" | "input_tokens" | "output_tokens") =>
          live.used(key, limiter, second - 1, second);
        return [pool, [of("requests"), of("input_tokens"), of("output_tokens")]];
      }),
    );
    const asked = desk.snapshot().ledgers.find(({ pool }) => pool === "fable-5.x");
    const outputLevels = {
      simulator: simulator.levels()["fable-5.x"]?.output_tokens.level,
      mirror: asked?.levels.find(({ limiter }) => limiter === "output_tokens")?.level,
    };
    return { record, billed, used, outputLevels };
  }

  describe.each([
    ["a plain answer", false],
    ["a stream", true],
  ])("of %s", (_, stream) => {
    test("a model that declined before any output costs nothing, and its prompt counts in its own pool", async () => {
      const { record, billed, used } = await call(stream, "fallback=claude-opus-4-8");
      expect(record).toMatchObject({ ...billed, inputTokens: 1_000, outputTokens: 100, model: "claude-opus-4-8" });
      expect(record).toMatchObject({ pool: "fable-5.x", costNanoUsd: 1_000 * 5_000 + 100 * 25_000 });
      expect(used).toEqual({ "fable-5.x": [1, 1_000, 0], "opus-4.x": [1, 1_000, 100] });
    });

    test("one that declined midway pays for what it made, and the next in the chain for nothing", async () => {
      const chain = "fallback=claude-sonnet-5:900/30, fallback=claude-opus-4-8";
      const { record, billed, used } = await call(stream, chain);
      expect(record).toMatchObject({ ...billed, inputTokens: 1_900, outputTokens: 130 });
      expect(record.costNanoUsd).toBe(900 * 10_000 + 30 * 50_000 + 1_000 * 5_000 + 100 * 25_000);
      expect(used).toEqual({ "fable-5.x": [1, 900, 30], "sonnet-5": [1, 1_000, 0], "opus-4.x": [1, 1_000, 100] });
    });

    test("traffic control settles the pool that was asked for what that pool itself made", async () => {
      const { outputLevels } = await call(stream, "fallback=claude-opus-4-8:1000/5000");
      expect(outputLevels).toEqual({ simulator: 95_000, mirror: 95_000 });
    });
  });
});
