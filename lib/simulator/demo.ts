import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";
import { z } from "zod";
import { Rule } from "../alerts/schema.ts";
import type { Database } from "../database/database.ts";
import { AppError, messageOf } from "../kit/errors.ts";
import { BURST, DEMO_AGENTS, type DemoAgent } from "./demo-agents.ts";
import { pastAlert, writeHistory } from "./history.ts";
import { seeded } from "./seeded.ts";
import { startSimulator } from "./simulator.ts";
import { parseTrace, replayTrace, type TraceCall } from "./trace.ts";

export type DemoFlags = { trace?: string | undefined; speed?: string | undefined };

const KEY = "sk-ant-demo";
const UPSTREAM = "default";
/** A model whose pool stands idle otherwise, so that a trace has its limits to itself. */
const TRACE_MODEL = "claude-sonnet-5-5";
/** The trace's own demand crosses 80 % of this: requests, input and output tokens a minute. */
const TRACE_LIMITS = { requests: 1_000, input_tokens: 450_000, output_tokens: 90_000 };

/**
 * Starts the simulator and gives the environment for a server on it, with a data folder of its own that is made anew
 * with a week of history. Throws `invalid_input` for a trace that cannot be read.
 */
export async function demoEnv(
  env: Record<string, string | undefined>,
  flags: DemoFlags,
): Promise<Record<string, string | undefined>> {
  if (flags.trace) readTrace(flags.trace);
  readSpeed(flags.speed);
  const dataDir = join(env.HEADROOM_DATA_DIR ?? ".headroom", "demo");
  rmSync(dataDir, { recursive: true, force: true });
  writeHistory(join(dataDir, "spool"), { upstream: UPSTREAM, nowMs: Date.now(), random: seeded(1) });
  const limits = flags.trace ? { "sonnet-5.5": TRACE_LIMITS } : {};
  const simulator = await startSimulator({ tier: "start", seed: 1, limits, tokensPerSecond: 75, firstTokenMs: 600 });
  return {
    ...env,
    HEADROOM_DATA_DIR: dataDir,
    HEADROOM_UPSTREAM_URL: simulator.url,
    ANTHROPIC_API_KEY: KEY,
  };
}

/** Sets the agents to work, or replays the trace, until the signal ends it. */
export async function startDemo(options: {
  url: string;
  database: Database;
  signal: AbortSignal;
  flags: DemoFlags;
}): Promise<void> {
  const { url, database, signal, flags } = options;
  await recordPastAlert(database);
  const client = new Anthropic({ baseURL: url, apiKey: KEY, authToken: null, logLevel: "off" });
  if (!flags.trace) {
    DEMO_AGENTS.forEach((agent, index) => void work(client, agent, seeded(index + 2), signal));
    void burst(client, signal);
    return;
  }
  const calls = readTrace(flags.trace);
  const speed = readSpeed(flags.speed);
  let answered = 0;
  let failed = 0;
  await replayTrace({
    ...{ calls, client, model: TRACE_MODEL, speed, signal },
    onAnswer: () => {
      answered += 1;
    },
    onError: () => {
      failed += 1;
    },
  });
  process.stdout.write(`  The trace is over: ${answered} calls answered, ${failed} given up by their client.\n`);
}

async function recordPastAlert(database: Database): Promise<void> {
  const [rule] = await database.call("rules_list", {}, z.array(Rule));
  if (!rule) return;
  const alert = pastAlert(rule, UPSTREAM, Date.now());
  const transition = {
    alert,
    expectedVersion: 0,
    told: 1,
    at: alert.resolvedAt,
    remove: false,
    events: [],
    channelIds: [],
  };
  await database.call("alerts_record", { transitions: [transition] }, z.unknown());
}

function readTrace(path: string): TraceCall[] {
  try {
    return parseTrace(readFileSync(path, "utf8"));
  } catch (error) {
    throw new AppError("invalid_input", `--trace ${path}: ${messageOf(error)}`, { cause: error });
  }
}

function readSpeed(text = "1"): number {
  const speed = Number(text);
  if (Number.isFinite(speed) && speed > 0) return speed;
  throw new AppError("invalid_input", `--speed ${text}: give a number above 0, such as 10 for ten times as fast`);
}

/** One agent: a call, a pause as it comes, the next call. Now and then it has a lot to do. */
async function work(client: Anthropic, agent: DemoAgent, random: () => number, signal: AbortSignal): Promise<void> {
  const prefix = text(agent.prefix, random);
  while (!signal.aborted) {
    const busy = random() < 0.08 ? 4 : 1;
    await Promise.all(Array.from({ length: busy }, () => call(client, agent, prefix, random, signal)));
    const pauseMs = -Math.log(1 - random()) * agent.everySeconds * 1000;
    await delay(pauseMs, undefined, { signal }).catch(() => {});
  }
}

/** The labeller has its batches: the limit's rule fires with each and is over after it. */
async function burst(client: Anthropic, signal: AbortSignal): Promise<void> {
  const agent = DEMO_AGENTS.find(({ name }) => name === BURST.agent);
  if (!agent) return;
  const random = seeded(99);
  const prefix = text(agent.prefix, random);
  while (!signal.aborted) {
    const calls = BURST.lastsSeconds * BURST.callsPerSecond;
    for (let index = 0; index < calls && !signal.aborted; index++) {
      void call(client, agent, prefix, random, signal);
      await delay(1000 / BURST.callsPerSecond, undefined, { signal }).catch(() => {});
    }
    await delay((BURST.everySeconds - BURST.lastsSeconds) * 1000, undefined, { signal }).catch(() => {});
  }
}

async function call(client: Anthropic, agent: DemoAgent, prefix: string, random: () => number, signal: AbortSignal) {
  const output = Math.max(8, Math.round(agent.output * (0.4 + 1.2 * random())));
  const request = {
    model: agent.model,
    max_tokens: 4 * output,
    system: [{ type: "text" as const, text: prefix, cache_control: { type: "ephemeral" as const } }],
    messages: [{ role: "user" as const, content: text(agent.fresh * (0.5 + random()), random) }],
  };
  const headers = {
    "x-headroom-agent": agent.name,
    "x-headroom-class": agent.class,
    "x-simulator-output-tokens": String(output),
  };
  try {
    if (agent.streamed) await client.messages.stream(request, { headers, signal }).finalMessage();
    else await client.messages.create(request, { headers, signal });
  } catch {
    // Refused, or the demo has ended: either way the next call comes.
  }
}

const WORDS = "limit token queue agent cache review order answer stream retry model prompt batch alert window".split(
  " ",
);

/** About as many tokens of words. */
function text(tokens: number, random: () => number): string {
  let words = "";
  while (words.length < tokens * 3.5) words += `${WORDS[Math.floor(random() * WORDS.length)]} `;
  return words;
}
