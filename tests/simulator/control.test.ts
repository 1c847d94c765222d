import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { ManualClock } from "../../lib/kit/clock.ts";
import { parseSimulatorFlags } from "../../lib/simulator/main.ts";
import { HELLO, simulate } from "./simulator-client.ts";

test("another process reads the ledger, from where it left off", async () => {
  const { simulator, post } = await simulate();
  for (let call = 0; call < 3; call += 1) await (await post(HELLO)).arrayBuffer();
  const answer = await (await fetch(`${simulator.url}/simulator/ledger?after=1`)).json();
  expect(answer.entries.map((entry: { sequence: number }) => entry.sequence)).toEqual([2, 3]);
  expect(answer.sums).toEqual(simulator.ledger.sums);
  await fetch(`${simulator.url}/simulator/ledger`, { method: "DELETE" });
  expect(simulator.ledger.sums.calls).toBe(0);
});

test("a bounded ledger keeps the newest entries and the sums of all", async () => {
  const { simulator, post } = await simulate({ ledgerCapacity: 2 });
  for (let call = 0; call < 5; call += 1) await (await post(HELLO)).arrayBuffer();
  expect(simulator.ledger.entries.map((entry) => entry.sequence)).toEqual([4, 5]);
  expect(simulator.ledger.sums.calls).toBe(5);
});

test("another process sets limits and faults and drains a bucket", async () => {
  const { simulator, post } = await simulate({ clock: new ManualClock() });
  const set = (path: string, body: object) =>
    fetch(`${simulator.url}/simulator/${path}`, { method: "POST", body: JSON.stringify(body) });
  await set("limits", { "opus-5.5": { requests: 60, output_tokens: 6_000 } });
  expect((await post(HELLO)).headers.get("anthropic-ratelimit-requests-remaining")).toBe("59");
  const drained = await set("drain", { pool: "opus-5.5", requests: 58, input_tokens: 1_000_000 });
  expect((await drained.json())["opus-5.5"].requests).toEqual({ limit: 60, level: 1, taken: 59 });
  await set("faults", { "529": 1 });
  expect((await post(HELLO)).status).toBe(529);
  await set("faults", {});
  expect((await post(HELLO)).status).toBe(200);
  expect((await post(HELLO)).status).toBe(429);
});

test.each([
  ["limits", { "opus-5.5": { requests: 0 } }, "opus-5.5.requests: "],
  ["limits", { "opus-5.5": { rpm: 5 } }, "opus-5.5: "],
  ["faults", { fire: 0.5 }, "fire"],
  ["faults", { "529": 0.6, "500": 0.6 }, "rates add up to more than 1"],
  ["drain", { requests: 1 }, "pool: "],
])("what %s cannot take is refused with what is wrong", async (path, body, message) => {
  const { post } = await simulate();
  const response = await post(body, {}, `/simulator/${path}`);
  expect(response.status).toBe(400);
  expect((await response.json()).error.message).toContain(message);
});

test("the command line is read whole", () => {
  const { options } = parseSimulatorFlags(
    "--port 0 --tier build --organization org-two --seed 5 --time-scale 2.5 --tokens-per-second 40 --limits opus-5.5=50/30000/8000 --limits opus-5.5/fast=5/6/7 --fault 529=0.1 --batch-ms 5000 --accounting reserve --acceleration".split(
      " ",
    ),
  );
  expect(options).toEqual({
    port: 0,
    tier: "build",
    organizationId: "org-two",
    seed: 5,
    timeScale: 2.5,
    tokensPerSecond: 40,
    firstTokenMs: 400,
    batchMs: 5_000,
    accounting: "reserve",
    acceleration: {},
    limits: {
      "opus-5.5": { requests: 50, input_tokens: 30_000, output_tokens: 8_000 },
      "opus-5.5/fast": { requests: 5, input_tokens: 6, output_tokens: 7 },
    },
    faults: { "529": 0.1 },
  });
});

test.each([
  ["--speed 5", /--speed/],
  ["--port 99999", /--port 99999: must be a whole number from 0 to 65535/],
  ["--accounting never", /--accounting never: must be one of continuous, at-end, reserve/],
  ["--tier gold", /--tier gold: must be one of start, build, scale/],
  ["--limits opus-5.5=5", /--limits opus-5.5=5: write POOL=REQUESTS\/INPUT\/OUTPUT/],
  ["--limits opus-5.5=0/1/1", /each at least 1 a minute/],
  ["--fault fire=1", /--fault fire=1: must be one of 429-windowless/],
  ["--fault 529=2", /--fault 2: must be a number from 0 to 1/],
  ["--time-scale 0", /--time-scale 0: must be a number from 0.001/],
])("the command line %s is refused with what is wrong", (line, message) => {
  expect(() => parseSimulatorFlags(line.split(" "))).toThrow(message);
});

function runSimulator(...args: string[]) {
  const child = spawn(process.execPath, ["lib/simulator/main.ts", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const output = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output.err += text;
  });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  return { child, output };
}

test("the command serves, and stops in order when it is told to", async () => {
  const { child, output } = runSimulator("--port", "0", "--limits", "opus-5.5=7/30000/8000");
  await once(child.stdout, "data");
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output.out)?.[0];
  const response = await fetch(`${url}/v1/messages`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": "sk-ant-x", "anthropic-version": "2023-06-01" },
    body: JSON.stringify({ ...HELLO, max_tokens: 1 }),
  });
  expect(response.headers.get("anthropic-ratelimit-requests-limit")).toBe("7");
  await response.arrayBuffer();
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([0, null]);
  expect(output.err).toBe("");
});

test("the command says so when its port is taken", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const { child, output } = runSimulator("--port", String(port));
  expect(await once(child, "exit")).toEqual([1, null]);
  expect(output.err).toBe(`Port ${port} is taken: choose another with --port, or 0 for any free one\n`);
});
