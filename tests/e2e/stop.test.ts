import { readdirSync } from "node:fs";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import type { CallsPage } from "../../lib/usage/schema.ts";
import { makeDataDir, startServer, until } from "../support/server.ts";

let simulator: Simulator;

beforeAll(async () => {
  simulator = await startSimulator({ tokensPerSecond: 40, firstTokenMs: 50 });
});
afterAll(() => simulator.close());

const streamOf = (url: string, tokens: number) =>
  new Anthropic({ baseURL: url, apiKey: "sk-ant-test", maxRetries: 0 }).messages.stream(
    { model: "claude-opus-5-5", max_tokens: 500, messages: [{ role: "user", content: "count" }] },
    { headers: { "x-simulator-output-tokens": String(tokens) } },
  );

test("a stop lets open streams finish, takes no new calls, and leaves nothing in the spool", async () => {
  const dataDir = makeDataDir();
  const server = await startServer({ upstreamUrl: simulator.url, dataDir });
  const stream = streamOf(server.url, 120);
  await new Promise<void>((flowing) => stream.once("text", () => flowing()));
  const stopped = server.stop();
  const refused = await until("new calls refused", async () =>
    streamOf(server.url, 5)
      .finalMessage()
      .then(
        () => null,
        (error: unknown) => error,
      ),
  );
  expect(refused).toBeInstanceOf(Anthropic.APIError);
  const message = await stream.finalMessage();
  expect(message.usage.output_tokens).toBe(120);
  expect(await stopped).toBe(0);
  expect(readdirSync(join(dataDir, "spool")).filter((name) => name.startsWith("calls-"))).toEqual([]);

  const again = await startServer({ upstreamUrl: simulator.url, dataDir });
  const { calls } = await again.api<CallsPage>("/api/calls");
  expect(calls.find(({ outputTokens }) => outputTokens === 120)).toMatchObject({ outcome: "succeeded" });
  expect(await again.stop()).toBe(0);
});

test("a client that hangs up in mid-stream is told to the upstream, and what was produced is in the books", async () => {
  const server = await startServer({ upstreamUrl: simulator.url });
  const stream = streamOf(server.url, 400);
  await new Promise<void>((flowing) => stream.once("text", () => flowing()));
  stream.abort();
  await stream.done().catch(() => {});
  const call = await until("the cut call", async () => (await server.api<CallsPage>("/api/calls")).calls[0]);
  expect(call).toMatchObject({ outcome: "partial", status: 200 });
  const entry = await until("the upstream noticing", async () =>
    simulator.ledger.entries.find(({ requestId }) => requestId === call.requestId),
  );
  expect(entry.clientGone).toBe(true);
  expect(entry.usage.output).toBeLessThan(400);
  expect(call.inputTokens).toBe(entry.usage.inputTokens);
  await server.stop();
});
