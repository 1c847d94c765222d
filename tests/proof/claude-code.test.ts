import { beforeAll, describe, expect, test } from "vitest";
import { installClaudeCode, runClaudeCode } from "../support/claude-code.ts";
import { differencesInside, type Run, run } from "../support/differential.ts";
import { UNLIKE_DOORS } from "../support/gateway.ts";
import { statusOf } from "../support/http-wire.ts";

/**
 * The real Claude Code, with a tool call, streaming and its model discovery. It draws ids of its own and makes calls at
 * the same time, so two runs are not the same to the byte: within a run both sides of Headroom are, and between runs it
 * makes the same calls, gets the same answers but for ids, and comes to the same end.
 */

const INSTALLING_MS = 360_000;
const RUNNING_MS = 90_000;

const work = async (baseUrl: string) => {
  const { code, stdout, stderr } = await runClaudeCode({
    baseUrl,
    prompt: 'use the tool Bash with {"command":"echo headroom","description":"Say it"}',
    args: ["--output-format", "json", "--allowedTools", "Bash"],
    env: { CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY: "1" },
  });
  const { subtype, is_error, num_turns, result } = JSON.parse(stdout);
  return { code, stderr, subtype, is_error, num_turns, hasResult: result !== "" };
};

let straight: Run;
beforeAll(async () => {
  await installClaudeCode();
  straight = await run("straight", work);
}, INSTALLING_MS);

const callsOf = ({ client }: Run) =>
  client
    .map(({ request, answer }) => `${request.startLine} ${statusOf(answer?.startLine ?? "")} ${answer?.framing}`)
    .sort();

test("it streams, uses a tool and asks for the models", () => {
  expect(straight.value).toMatchObject({ code: 0, stderr: "", subtype: "success", is_error: false, num_turns: 2 });
  const calls = callsOf(straight);
  expect(calls.filter((call) => call.startsWith("POST /v1/messages?beta=true"))).not.toEqual([]);
  expect(calls).toContain("GET /v1/models?limit=1000 HTTP/1.1 200 length");
  expect(straight.client.some(({ answer }) => String(answer?.headers).includes("text/event-stream"))).toBe(true);
});

describe.each(UNLIKE_DOORS)("through the %s door", (door) => {
  test("it does the same, and no byte differs between what it sent and what went out", {
    timeout: RUNNING_MS,
  }, async () => {
    const through = await run(door, work);
    expect(differencesInside(through)).toEqual([]);
    expect(callsOf(through)).toEqual(callsOf(straight));
    expect(through.value).toEqual(straight.value);
  });
});
