import Anthropic from "@anthropic-ai/sdk";
import { expect, onTestFinished, test } from "vitest";
import { TrafficDesk } from "../../lib/gateway/traffic-desk.ts";
import { systemClock } from "../../lib/kit/clock.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { TrafficController } from "../../lib/traffic/traffic-controller.ts";
import { DOORS, openDoor } from "../support/gateway.ts";

const LIMITS = { requests: 60, input_tokens: 1_000_000, output_tokens: 100_000 };
const REQUEST = { model: "claude-opus-5-5", messages: [{ role: "user" as const, content: "How many are these?" }] };

test.each(DOORS)(
  "through the %s door tokens are counted by the upstream, for nothing, and past all that wait",
  async (door) => {
    const simulator = await startSimulator({ limits: { "opus-5.5": LIMITS } });
    onTestFinished(simulator.close);
    const controller = new TrafficController({ random: () => 0.5 });
    const desk = new TrafficDesk({ controller, clock: systemClock, expected: () => LIMITS });
    onTestFinished(() => desk.close());
    const gateway = await openDoor(door, simulator.url, { traffic: desk });
    onTestFinished(gateway.close);
    const client = new Anthropic({ baseURL: gateway.url, apiKey: "sk-ant-test", maxRetries: 0 });
    const direct = new Anthropic({ baseURL: simulator.url, apiKey: "sk-ant-test", maxRetries: 0 });
    const gone = new AbortController();
    const waiting = Array.from({ length: 70 }, () =>
      client.messages.create({ ...REQUEST, max_tokens: 5 }, { signal: gone.signal }).catch(() => null),
    );
    await expect.poll(() => desk.snapshot().counts.arrived).toBe(70);
    expect(desk.snapshot().waiting).toBeGreaterThan(0);

    const counts = await Promise.all(Array.from({ length: 20 }, () => client.messages.countTokens(REQUEST)));
    const { input_tokens } = await direct.messages.countTokens(REQUEST);
    expect(counts.map((count) => count.input_tokens)).toEqual(counts.map(() => input_tokens));
    expect(desk.snapshot().waiting).toBeGreaterThan(0);
    expect(desk.snapshot().counts.arrived).toBe(70);
    const counted = gateway.records.calls.filter(({ endpoint }) => endpoint === "/v1/messages/count_tokens");
    expect(counted.map(({ costNanoUsd, inputTokens, waitMs }) => [costNanoUsd, inputTokens, waitMs])).toEqual(
      counts.map(() => [0, 0, 0]),
    );
    gone.abort();
    await Promise.all(waiting);
  },
);
