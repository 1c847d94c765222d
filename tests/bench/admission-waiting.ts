import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import type { TrafficSnapshot } from "../../lib/traffic/schema.ts";
import { removeDataDir, startServer, type TestServer, until } from "../support/server.ts";
import { type DeskCost, measureDesk } from "./admission-desk.ts";
import type { Order, Report } from "./waiting-callers.ts";

const CALLS = 10_000;
const AGENTS = 24;
const BODY_BYTES = 2_048;
const POOL = "sonnet-5.5";
/** One call a second leaves the queue, so that it stands and yet can be seen to move. */
const LIMITS = { requests: 60, input_tokens: 450_000, output_tokens: 90_000 };
const WARM_UP_CALLS = 2_000;
const MB = 1024 * 1024;

export type WaitingBench = {
  /** Of the server's process, dashboard included, in MB. */
  rssMb: { before: number; waiting: number; after: number; beyondBodies: number };
  waiting: number;
  /** From the hang-up of all to a queue of none. */
  emptyAfterMs: number;
  /** From then to the answer of the next call, which waits for the limit's next refill. */
  nextCallMs: number;
  desk: DeskCost;
};

/**
 * What waiting costs: the server as a process of its own with 10,000 calls that wait on as many connections, their
 * hang-up, and the CPU that traffic control takes of each call while a queue stands.
 */
export async function runWaitingBench(): Promise<WaitingBench> {
  const desk = measureDesk();
  console.log(
    `traffic desk, ${desk.arrivalsPerS} calls/s, ${desk.standing} waiting: ${desk.usPerCall} µs of CPU a call`,
  );
  const simulator = await startSimulator({ limits: { [POOL]: { ...LIMITS, requests: 100_000 } } });
  const server = await startServer({ upstreamUrl: simulator.url });
  const callers = fork(join(import.meta.dirname, "waiting-callers.ts"));
  try {
    const figures = await measureWaiting(simulator, server, callers);
    return { ...figures, desk };
  } finally {
    callers.kill();
    await server.stop();
    await simulator.close();
    removeDataDir(server.dataDir);
  }
}

async function measureWaiting(simulator: Simulator, server: TestServer, callers: ChildProcess) {
  const queue = () => server.api<TrafficSnapshot>("/api/traffic");
  const call = async (count: number): Promise<void> => {
    const [told] = await ask(callers, { kind: "call", url: server.url, count, agents: AGENTS, bodyBytes: BODY_BYTES });
    if (told.lost > 0) throw new Error(`${told.lost} connections were lost`);
  };
  // A server that has run for a while: code is compiled, buffers and tables have their size.
  const idle = async () => {
    await until("the calls so far", async () => {
      const { waiting, open } = await queue();
      return waiting + open === 0;
    });
  };
  for (let sent = 0; sent < WARM_UP_CALLS; sent += 100) {
    await call(100);
    await idle();
  }
  simulator.setLimits({ [POOL]: LIMITS });
  simulator.drain(POOL, { requests: LIMITS.requests });
  // Its refusal, and then its answer, tell the limits.
  await call(1);
  await idle();
  const before = await settledRss(server.pid);
  console.log(`RSS with nothing waiting ${mb(before)} MB`);

  let waiting = 0;
  while (waiting < CALLS) {
    await call(Math.min(1_000, CALLS - waiting));
    waiting = (await queue()).waiting;
  }
  const full = await settledRss(server.pid);
  const { waiting: stillWaiting, waitingBytes } = await queue();
  const beyondBodies = full - before - waitingBytes;
  console.log(
    `RSS with ${stillWaiting} waiting ${mb(full)} MB: ${mb(waitingBytes)} MB of bodies, ${mb(beyondBodies)} MB besides (${Math.round(beyondBodies / stillWaiting)} bytes a call)`,
  );

  const leftAt = performance.now();
  await ask(callers, { kind: "leave" });
  while ((await queue()).waiting > 0) await pause(10);
  const emptyAt = performance.now();
  await post(server.url);
  const answeredAt = performance.now();
  const after = await settledRss(server.pid);
  const emptyAfterMs = Math.round(emptyAt - leftAt);
  const nextCallMs = Math.round(answeredAt - emptyAt);
  console.log(`all hung up: queue empty after ${emptyAfterMs} ms, the next call answered ${nextCallMs} ms later`);
  console.log(`RSS after they have left ${mb(after)} MB`);
  return {
    rssMb: { before: mb(before), waiting: mb(full), after: mb(after), beyondBodies: mb(beyondBodies) },
    ...{ waiting: stillWaiting, emptyAfterMs, nextCallMs },
  };
}

async function ask(callers: ChildProcess, order: Order): Promise<[Report]> {
  const told = once(callers, "message");
  callers.send(order);
  const [report] = await told;
  return [report];
}

async function post(url: string): Promise<void> {
  const response = await fetch(`${url}/v1/messages`, {
    method: "POST",
    headers: { "content-type": "application/json", "anthropic-version": "2026-10-21", "x-api-key": "sk-ant-bench" },
    body: JSON.stringify({ model: "claude-sonnet-5-5", max_tokens: 20, messages: [{ role: "user", content: "hi" }] }),
  });
  await response.text();
  if (!response.ok) throw new Error(`the next call was refused: ${response.status}`);
}

/** As Linux accounts it, once it no longer falls: what a burst leaves for the collector is not what waiting costs. */
async function settledRss(pid: number): Promise<number> {
  let lowest = Number.POSITIVE_INFINITY;
  for (let second = 0; second < 10; second += 1) {
    await pause(1_000);
    const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
    lowest = Math.min(lowest, pages * 4096);
  }
  return lowest;
}

function mb(bytes: number): number {
  return Math.round((10 * bytes) / MB) / 10;
}
