import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import type { UsageTotals } from "../../lib/usage/schema.ts";
import { ownerOf } from "../support/owner-process.ts";
import { startServer, type TestServer, until } from "../support/server.ts";

/** The whole product under load while its database does not answer, and then is killed. */

const CLIENTS = 8;
const STOPPED_MS = 60_000;
const MODEL = "claude-opus-5-5";

let simulator: Simulator;
let server: TestServer;

beforeAll(async () => {
  const plenty = { requests: 1_000_000, input_tokens: 1_000_000_000, output_tokens: 1_000_000_000 };
  simulator = await startSimulator({
    seed: 9,
    tokensPerSecond: 4_000,
    firstTokenMs: 5,
    limits: { "opus-5.5": plenty },
  });
  server = await startServer({ upstreamUrl: simulator.url });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  await simulator.close();
});

test("while the database stands still, and when it is killed, every call is answered and none is lost or doubled", async () => {
  const answered: string[] = [];
  const failed: unknown[] = [];

  const before = await load(() => answered.length >= 100);
  expect(before).toBeGreaterThan(0);

  const owner = ownerOf(server.pid);
  process.kill(owner, "SIGSTOP");
  const stoppedUntil = performance.now() + STOPPED_MS;
  // Ends when all calls of that time have ended: one that waited for the database would wait for ever.
  const during = await load(() => performance.now() > stoppedUntil);
  expect(failed).toEqual([]);
  expect(during).toBeGreaterThan(100);
  const { gateway } = await server.api<{ gateway: { spoolRows: number } }>("/api/state");
  expect(gateway.spoolRows).toBeGreaterThanOrEqual(during - 1);
  process.kill(owner, "SIGCONT");

  const killedAt = answered.length + 50;
  let isKilled = false;
  await load(() => {
    if (!isKilled && answered.length >= killedAt) {
      isKilled = true;
      process.kill(ownerOf(server.pid), "SIGKILL");
    }
    return answered.length >= killedAt + 150;
  });
  expect(failed).toEqual([]);

  const from = new Date(Date.now() - 86_400_000).toISOString();
  const to = new Date(Date.now() + 86_400_000).toISOString();
  const totals = await until("every row in the database", async () => {
    const found = await server.api<UsageTotals>(`/api/usage/totals?from=${from}&to=${to}`).catch(() => null);
    return found && found.total.calls >= answered.length && found;
  });
  const billed = simulator.ledger.sums;
  expect(new Set(answered).size).toBe(answered.length);
  expect(billed.calls).toBe(answered.length);
  expect(totals.total).toMatchObject({
    calls: answered.length,
    partialCalls: 0,
    failedCalls: 0,
    inputTokens: billed.usage.inputTokens,
    outputTokens: billed.usage.output,
  });

  /** Clients that call one after the other until told; resolves to how many calls they made when the last has ended. */
  async function load(isOver: () => boolean): Promise<number> {
    const client = new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test", maxRetries: 0 });
    const first = answered.length;
    const one = async (index: number) => {
      const request = {
        model: MODEL,
        max_tokens: 60,
        messages: [{ role: "user" as const, content: `Client ${index}` }],
      };
      while (!isOver() && failed.length === 0) {
        try {
          const { _request_id: id } =
            index % 2 === 0
              ? await client.messages.create(request)
              : await client.messages
                  .stream(request)
                  .finalMessage()
                  .then((message) => message as Anthropic.Message & { _request_id?: string });
          answered.push(id ?? `${index}-${answered.length}`);
        } catch (error) {
          failed.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, index) => one(index)));
    return answered.length - first;
  }
});
