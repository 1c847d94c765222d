import Anthropic from "@anthropic-ai/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seeded } from "../../lib/simulator/seeded.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import type { CallRecord, CallsPage, UsageTotals } from "../../lib/usage/schema.ts";
import { runClaudeCode } from "../support/claude-code.ts";
import { ADMIN_TOKEN, startServer, type TestServer, until } from "../support/server.ts";

const MODELS = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5"];

let simulator: Simulator;
let server: TestServer;

beforeAll(async () => {
  simulator = await startSimulator({ seed: 5, tokensPerSecond: 4_000, firstTokenMs: 5 });
  server = await startServer({ upstreamUrl: simulator.url });
});

afterAll(async () => {
  expect(await server.stop()).toBe(0);
  await simulator.close();
});

test("200 plain and streamed calls of the official SDK are in the books as the upstream billed them", async () => {
  const random = seeded(11);
  const client = new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test" });
  const prefix = "All work and no play makes a dull limit. ".repeat(200);
  const calls = Array.from({ length: 200 }, (_, index) => async () => {
    const request = {
      model: MODELS[index % MODELS.length] ?? "",
      max_tokens: 400,
      system: [
        {
          type: "text" as const,
          text: prefix,
          cache_control: { type: "ephemeral" as const, ttl: index % 3 ? ("5m" as const) : ("1h" as const) },
        },
      ],
      messages: [{ role: "user" as const, content: `Question ${index}: ${"why ".repeat(Math.floor(random() * 300))}` }],
    };
    if (index % 2 === 0) return client.messages.create(request);
    return client.messages.stream(request).finalMessage();
  });
  const seen = { input: 0, output: 0 };
  for (let start = 0; start < calls.length; start += 20) {
    for (const { usage } of await Promise.all(calls.slice(start, start + 20).map((call) => call()))) {
      seen.input += usage.input_tokens;
      seen.output += usage.output_tokens;
    }
  }

  const page = await until("200 rows", async () => {
    const found = await server.api<CallsPage>("/api/calls?limit=1000");
    return found.calls.length >= 200 && found;
  });
  expect(page.calls).toHaveLength(200);
  const byRequest = new Map(page.calls.map((call) => [call.requestId, call]));
  for (const entry of simulator.ledger.entries) {
    const call = byRequest.get(entry.requestId);
    expect(call).toMatchObject({
      status: 200,
      outcome: "succeeded",
      model: entry.model,
      pool: entry.pool,
      streamed: entry.streamed,
      inputTokens: entry.usage.inputTokens,
      cacheWrite5mTokens: entry.usage.cacheWrite5m,
      cacheWrite1hTokens: entry.usage.cacheWrite1h,
      cacheReadTokens: entry.usage.cacheRead,
      outputTokens: entry.usage.output,
      rateLimitHeaders: entry.rateLimitHeaders,
    } satisfies Partial<CallRecord>);
  }

  const billed = simulator.ledger.sums.usage;
  const day = (shift: number) => new Date(Date.now() + shift * 86_400_000).toISOString();
  const { total } = await server.api<UsageTotals>(`/api/usage/totals?from=${day(-1)}&to=${day(1)}`);
  expect(total).toMatchObject({
    calls: 200,
    refusedCalls: 0,
    unpricedCalls: 0,
    inputTokens: billed.inputTokens,
    cacheWrite5mTokens: billed.cacheWrite5m,
    cacheWrite1hTokens: billed.cacheWrite1h,
    cacheReadTokens: billed.cacheRead,
    outputTokens: billed.output,
  });
  expect({ input: total.inputTokens, output: total.outputTokens }).toEqual(seen);
  expect(total.costNanoUsd).toBe(page.calls.reduce((sum, call) => sum + (call.costNanoUsd ?? Number.NaN), 0));
});

test("Prometheus is told the same sums", async () => {
  const response = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  const text = await response.text();
  const sum = (pattern: RegExp) => [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
  const billed = simulator.ledger.sums.usage;
  expect(sum(/^headroom_calls_total\{.*outcome="succeeded".*\} (\d+)$/gm)).toBe(200);
  expect(sum(/^headroom_tokens_total\{.*kind="input".*\} (\d+)$/gm)).toBe(billed.inputTokens);
  expect(sum(/^headroom_tokens_total\{.*kind="output".*\} (\d+)$/gm)).toBe(billed.output);
  expect(text).toMatch(/^headroom_limit\{.*pool="opus-5.5".*limiter="input_tokens".*\} 2000000$/m);
});

test("the limits shown are the ones that the upstream's headers gave", async () => {
  const { limits } = await server.api<{ limits: { pool: string; limiter: string; limit: number; source: string }[] }>(
    "/api/limits",
  );
  expect(limits.filter(({ pool }) => pool === "opus-5.5")).toMatchObject([
    { limiter: "requests", limit: 1_000, source: "header" },
    { limiter: "input_tokens", limit: 2_000_000, source: "header" },
    { limiter: "output_tokens", limit: 400_000, source: "header" },
  ]);
  const changed = { requests: 77, input_tokens: 1_234_000, output_tokens: 55_000 };
  simulator.setLimits({ "opus-5.5": changed });
  await new Anthropic({ baseURL: server.url, apiKey: "sk-ant-test" }).messages.create({
    model: "claude-opus-5-5",
    max_tokens: 5,
    messages: [{ role: "user", content: "hi" }],
  });
  const after = await server.api<{ limits: { pool: string; limiter: keyof typeof changed; limit: number }[] }>(
    "/api/limits",
  );
  for (const { limiter, limit } of after.limits.filter(({ pool }) => pool === "opus-5.5")) {
    expect([limiter, limit]).toEqual([limiter, changed[limiter]]);
  }
});

test("Claude Code completes a prompt through it and is in the books under its own name", async () => {
  const { stdout } = await runClaudeCode({ baseUrl: server.url, prompt: "say hello", args: [] });
  expect(stdout.trim()).not.toBe("");
  const call = await until("the call of Claude Code", async () => {
    const { calls } = await server.api<CallsPage>("/api/calls?limit=50");
    return calls.find(({ client, endpoint }) => endpoint === "/v1/messages" && client?.startsWith("claude-cli/"));
  });
  expect(call).toMatchObject({ agentSource: "claude_code", outcome: "succeeded", status: 200 });
  expect(call.session).not.toBeNull();
  const entry = simulator.ledger.entries.find(({ requestId }) => requestId === call.requestId);
  expect([call.inputTokens, call.outputTokens]).toEqual([entry?.usage.inputTokens, entry?.usage.output]);
});

test("no prompt, answer or credential is in the data folder", async () => {
  const { execFileSync } = await import("node:child_process");
  const found = (text: string) => {
    try {
      return execFileSync("grep", ["-rlaF", text, server.dataDir], { encoding: "utf8" });
    } catch {
      return "";
    }
  };
  expect(found("All work and no play")).toBe("");
  expect(found("sk-ant-test")).toBe("");
  expect(found("claude-opus-5-5")).not.toBe("");
});
