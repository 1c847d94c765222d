import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReconciliationAnswer } from "../../lib/reconciliation/schema.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { startServer, type TestServer, until } from "../support/server.ts";

let simulator: Simulator;
let server: TestServer;

beforeAll(async () => {
  simulator = await startSimulator();
  server = await startServer({ upstreamUrl: simulator.url, env: { ANTHROPIC_ADMIN_KEY: "sk-ant-admin01-test" } });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  await simulator.close();
});

const day = (shift: number) => new Date(Date.now() + shift * 86_400_000).toISOString();
const path = `/api/usage/reconciliation?from=${day(-3)}&to=${day(0)}`;

test("with an Admin key the reports are read after the start, and today's sums stand beside none", async () => {
  await fetch(`${server.url}/v1/messages`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01" },
    body: JSON.stringify({
      ...{ model: "claude-opus-5-5", max_tokens: 50 },
      messages: [{ role: "user", content: "Say hello." }],
    }),
  }).then((answer) => answer.text());
  const { reading, days } = await until("the reports and the call", async () => {
    const found = await server.api<ReconciliationAnswer>(path);
    return found.days[0]?.readAt != null && found.days.at(-1)?.models[0] !== undefined ? found : false;
  });
  expect(reading).toMatchObject({ hasAdminKey: true, fault: null });
  expect(days[0]).toMatchObject({ reason: null, models: [] });
  const { inputTokens, output } = simulator.ledger.sums.usage;
  expect(days.at(-1)).toMatchObject({
    reason: "not_complete",
    readAt: null,
    models: [{ model: "claude-opus-5-5", reason: "not_complete", anthropic: null, difference: null }],
    total: { anthropic: null, headroom: { inputTokens, outputTokens: output }, difference: null },
  });
});

test("it is for operators, and wants a range that is one", async () => {
  expect((await fetch(server.url + path)).status).toBe(401);
  await expect(server.api(`/api/usage/reconciliation?from=${day(0)}&to=${day(-1)}`)).rejects.toThrow(/ 400 .*must lie/);
  await expect(server.api(`/api/usage/reconciliation?from=${day(-99)}&to=${day(0)}`)).rejects.toThrow(/ 400 .*92 days/);
});
