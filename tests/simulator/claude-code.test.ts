import { expect, test } from "vitest";
import { runClaudeCode } from "../support/claude-code.ts";
import { simulate } from "./simulator-client.ts";

const INSTALLING_MS = 360_000;

test("Claude Code completes a prompt, and its own usage is the ledger's", { timeout: INSTALLING_MS }, async () => {
  const { simulator } = await simulate();
  const run = await runClaudeCode({ baseUrl: simulator.url, prompt: "say hello", args: ["--output-format", "json"] });
  expect(run.stderr).toBe("");
  expect(run.code).toBe(0);
  const result = JSON.parse(run.stdout);
  expect(result).toMatchObject({ subtype: "success", is_error: false, num_turns: 1 });
  await simulator.idle();
  const calls = simulator.ledger.entries.filter((entry) => entry.endpoint === "/v1/messages");
  expect(calls.map((entry) => entry.status)).toEqual(calls.map(() => 200));
  const main = calls.find((entry) => entry.model === "claude-opus-5-5");
  expect(result.usage).toMatchObject({
    input_tokens: main?.usage.inputTokens,
    cache_creation_input_tokens: (main?.usage.cacheWrite5m ?? 0) + (main?.usage.cacheWrite1h ?? 0),
    output_tokens: main?.usage.output,
  });
  expect(main?.usage.cacheWrite5m).toBeGreaterThan(1_000);
});

test("Claude Code uses a tool that the prompt asks for, and sends its result", { timeout: INSTALLING_MS }, async () => {
  const { simulator } = await simulate();
  const run = await runClaudeCode({
    baseUrl: simulator.url,
    prompt: 'use the tool Bash with {"command":"echo headroom","description":"Say it"}',
    args: ["--output-format", "json", "--allowedTools", "Bash"],
  });
  expect(run.code).toBe(0);
  expect(JSON.parse(run.stdout)).toMatchObject({ subtype: "success", num_turns: 2 });
  await simulator.idle();
  const [first, second] = simulator.ledger.entries.filter((entry) => entry.model === "claude-opus-5-5");
  expect([first?.stopReason, second?.stopReason]).toEqual(["tool_use", "end_turn"]);
  expect(second?.usage.cacheRead).toBeGreaterThan(1_000);
});
