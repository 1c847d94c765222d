import Anthropic from "@anthropic-ai/sdk";
import { beforeAll, describe, expect, test } from "vitest";
import {
  aiSdkProgram,
  anthropicProgram,
  langChainProgram,
  openAiProgram,
  type Program,
} from "../support/client-programs.ts";
import { installClients, loadSdk0 } from "../support/clients.ts";
import { differencesBetween, differencesInside, type Run, run } from "../support/differential.ts";
import { DOORS } from "../support/gateway.ts";

/**
 * The client libraries that people use, unchanged but for the base URL: the same work straight at the simulated API and
 * through each of Headroom's doors. No program can tell the difference by what it gets, and no byte differs on either
 * side of Headroom but for the header fields in `EXCEPTIONS` and Headroom's own.
 */

const INSTALLING_MS = 360_000;

beforeAll(installClients, INSTALLING_MS);

describe.each<[string, () => Promise<Program>, number]>([
  ["@anthropic-ai/sdk 1", async () => anthropicProgram(Anthropic), 55],
  ["@anthropic-ai/sdk 0", async () => anthropicProgram(await loadSdk0()), 55],
  ["@ai-sdk/anthropic", async () => aiSdkProgram, 12],
  ["@langchain/anthropic", async () => langChainProgram, 4],
  ["openai", async () => openAiProgram, 12],
])("%s", (_, loadProgram, leastCalls) => {
  let program: Program;
  let straight: Run;
  beforeAll(async () => {
    program = await loadProgram();
    straight = await run("straight", program);
  });

  test("does its work straight at the upstream", () => {
    expect(straight.client.length).toBeGreaterThanOrEqual(leastCalls);
    const outcomes = straight.value as { failed?: string; message?: string }[];
    expect(outcomes.filter(({ failed }) => failed === undefined).length).toBeGreaterThan(2);
    // Failures are the API's, not those of a program that does not fit its library.
    expect(outcomes.filter(({ message }) => /is not a function|undefined|Cannot /.test(message ?? ""))).toEqual([]);
  });

  test.each(DOORS)("sees no difference through the %s door", async (door) => {
    const through = await run(door, program);
    expect(differencesInside(through)).toEqual([]);
    expect(differencesBetween(straight, through)).toEqual([]);
    expect(through.value).toEqual(straight.value);
  });
});
