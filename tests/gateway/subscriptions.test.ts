import { describe, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../lib/kit/clock.ts";
import { UnifiedBook } from "../../lib/limits/unified-book.ts";
import { startSimulator } from "../../lib/simulator/simulator.ts";
import { DOORS, openDoor } from "../support/gateway.ts";

const ACCOUNT = "0b7c6a3e-1111-4000-8000-000000000001";

describe.each(DOORS)("through the %s door", (door) => {
  async function open(fiveHourTokens: number) {
    const simulator = await startSimulator({ subscription: { fiveHourTokens } });
    onTestFinished(simulator.close);
    const windows = new UnifiedBook({ clock: systemClock });
    const gateway = await openDoor(door, simulator.url, { windows });
    onTestFinished(gateway.close);
    const ask = async (userId: string) => {
      const answer = await fetch(`${gateway.url}/v1/messages`, {
        method: "POST",
        headers: {
          authorization: "Bearer sk-ant-oat01-test",
          "anthropic-version": "2023-06-01",
          "anthropic-beta": "oauth-2025-04-20",
          "content-type": "application/json",
        },
        body: JSON.stringify({
          ...{ model: "claude-opus-5-5", max_tokens: 300, metadata: { user_id: userId } },
          messages: [{ role: "user", content: "Say hello. ".repeat(50) }],
        }),
      });
      await answer.text();
      return answer;
    };
    return { ...gateway, windows, ask };
  }

  test.each([
    ["as JSON", JSON.stringify({ device_id: "d", account_uuid: ACCOUNT, session_id: "s" })],
    ["as older versions write it", `user_${"a".repeat(64)}_account_${ACCOUNT}_session_${ACCOUNT}`],
  ])(
    "windows of a subscription are kept under its account (%s) and never among limits per minute",
    async (_, userId) => {
      const { ask, windows, records, observed } = await open(1_000_000);
      expect((await ask(userId)).status).toBe(200);
      expect((await records.only()).rateLimitHeaders).toHaveProperty("anthropic-ratelimit-unified-5h-utilization");
      expect(observed).toEqual([]);
      const states = windows.states();
      expect(states.map(({ window }) => window).sort()).toEqual(["five_hour", "overage", "seven_day"]);
      expect(states.find(({ window }) => window === "five_hour")).toMatchObject({
        ...{ upstream: records.calls[0]?.upstream, account: ACCOUNT, status: "allowed", binds: true },
        utilisation: expect.any(Number),
        resetAt: expect.stringMatching(/^\d{4}-.*Z$/),
      });
    },
  );

  test("a call that the spent window refuses is told apart from every other 429", async () => {
    const { ask, windows, records } = await open(100);
    await ask("");
    const refused = await ask("");
    expect(refused.status).toBe(429);
    expect((await records.atLeast(2)).at(-1)).toMatchObject({ outcome: "refused", refusal: "subscription_window" });
    expect(windows.states()[0]).toMatchObject({ window: "five_hour", status: "rejected" });
  });
});
