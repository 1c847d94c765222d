import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FuzzCase, fuzzCase } from "../support/fuzz-requests.ts";
import type { TargetState } from "../support/fuzz-target.ts";
import { type FuzzUpstream, fuzzAnswer, startFuzzUpstream } from "../support/fuzz-upstream.ts";
import { readAnswers, statusOf, valuesOf, type WireMessage } from "../support/http-wire.ts";
import { Random } from "../support/random.ts";

const CASES = 20_000;
const SEED = 20_261_123;
const AT_ONCE = 48;
const WARM_UP = 4_000;
const MB = 1024 * 1024;

let upstream: FuzzUpstream;
let target: ChildProcess;
let exited = false;
const folder = mkdtempSync(join(tmpdir(), "headroom-fuzz-"));
const socketPath = join(folder, "gateway.sock");

beforeAll(async () => {
  upstream = await startFuzzUpstream();
  target = fork(join(import.meta.dirname, "../support/fuzz-target.ts"), [upstream.url, socketPath, folder], {
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
  });
  target.once("exit", () => {
    exited = true;
  });
  await once(target, "message");
});

afterAll(async () => {
  target.disconnect();
  await once(target, "exit");
  await upstream.close();
  rmSync(folder, { recursive: true, force: true });
});

test(`${CASES.toLocaleString("en")} fuzzed requests never crash, hang or leak, and sound ones are answered to the byte`, {
  timeout: 180_000,
}, async () => {
  const random = new Random(SEED);
  const faults: string[] = [];
  const soundBodies = new Map<string, Buffer>();
  upstream.onBody = (id, body) => {
    const sent = soundBodies.get(id);
    if (sent && !sent.equals(body)) faults.push(`${id}: the upstream received another body than was sent`);
  };
  const rows: Record<string, number> = {};
  let mutated = 0;
  let number = 0;
  let warm: TargetState | null = null;

  const worker = async (until: number) => {
    while (number < until) {
      number += 1;
      const made = fuzzCase(random, number);
      if (made.mutated) mutated += 1;
      for (const { id, body } of made.sound) soundBodies.set(id, body);
      const { received, ended } = await converse(made);
      if (!ended) faults.push(`case ${made.number}: not over, ${describe(made, received)}`);
      judge(made, received, faults);
      for (const { id } of made.sound) soundBodies.delete(id);
    }
  };
  for (const until of [WARM_UP, CASES]) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => worker(until)));
    const state = await settled();
    for (const [agent, count] of Object.entries(state.rows)) rows[agent] = (rows[agent] ?? 0) + count;
    warm ??= state;
  }
  const end = await settled();

  expect(faults).toEqual([]);
  expect(end.faults).toEqual([]);
  expect(exited).toBe(false);
  expect({ ...end, heapBytes: 0, rssBytes: 0 }).toMatchObject({ openCalls: 0, liveCalls: 0, connections: 0 });
  // One row for each call, whatever it was; ids that arrived twice would have been smuggled through.
  const isSound = ([id]: [string, number]) => /^sound-\d+\.\d$/.test(id);
  expect(
    Object.entries(rows)
      .filter(isSound)
      .filter(([, count]) => count !== 1),
  ).toEqual([]);
  expect([...upstream.seen].filter(isSound).filter(([, count]) => count !== 1)).toEqual([]);
  expect(upstream.strays).toBeLessThan(mutated);
  expect(end.heapBytes - (warm?.heapBytes ?? 0)).toBeLessThan(4 * MB);
});

const PATIENCE_MS = 20_000;
const LINGER_MS = 15;

/** Sends one case over a connection of its own. Resolves when the server has closed it, or patience has ended. */
function converse({ pieces, ending }: FuzzCase): Promise<{ received: Buffer; ended: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    const received: Buffer[] = [];
    const finish = (ended: boolean) => {
      clearTimeout(patience);
      clearTimeout(linger);
      socket.destroy();
      resolve({ received: Buffer.concat(received), ended });
    };
    const patience = setTimeout(() => finish(false), PATIENCE_MS);
    let linger: NodeJS.Timeout | undefined;
    socket.on("error", () => {});
    socket.on("close", () => finish(true));
    socket.on("data", (chunk) => {
      received.push(chunk);
      if (ending === "end") socket.end();
    });
    let next = 0;
    const feed = () => {
      const piece = pieces[next];
      next += 1;
      if (piece !== undefined) {
        socket.write(piece, () => setImmediate(feed));
        return;
      }
      if (ending === "destroy") socket.destroy();
      if (ending === "end") linger = setTimeout(() => socket.end(), LINGER_MS);
    };
    socket.once("connect", feed);
  });
}

function describe({ sound }: FuzzCase, received: Buffer): string {
  const asked = sound.map(({ id, method }) => `${id} ${method} ${fuzzAnswer(id).kind} ${fuzzAnswer(id).status}`);
  return `${asked.join(" | ")}: ${received.toString("latin1").slice(0, 300)}`;
}

/** What a client must see of its sound requests, each after the other. */
function judge(made: FuzzCase, received: Buffer, faults: string[]): void {
  const { sound } = made;
  const methods = sound.map(({ method }) => method);
  const answers = readAnswers(received, methods).filter(({ startLine }) => statusOf(startLine) >= 200);
  // An answer that is cut ends its connection, and what else was on its way there may go with it.
  const isCut = sound.some(({ id }) => fuzzAnswer(id).kind === "cut");
  for (const [index, { id, method }] of sound.entries()) {
    const answer = answers[index];
    const { kind, status, body } = fuzzAnswer(id);
    if (!answer) {
      if (!isCut) faults.push(`${id}: no answer, ${describe(made, received)}`);
      return;
    }
    if (!isOwn(answer)) {
      if (statusOf(answer.startLine) !== status) faults.push(`${id}: ${answer.startLine} instead of ${status}`);
      const expected = method === "HEAD" ? Buffer.alloc(0) : body;
      const isRight = answer.whole ? answer.body.equals(expected) : isCut && expected.indexOf(answer.body) === 0;
      if (!isRight && kind !== "cut") faults.push(`${id}: another body, ${describe(made, received)}`);
      if (answer.whole && kind === "cut" && expected.length > 1) faults.push(`${id}: a cut answer that looks whole`);
    }
    // The server may say that nothing will follow: after `Expect` without a "100 Continue" it must.
    if (valuesOf(answer, "connection").includes("close")) return;
  }
}

/** An answer of Headroom's own, in Anthropic's shape. */
function isOwn({ body, headers, startLine }: WireMessage): boolean {
  if (headers.some(([name, value]) => name.toLowerCase() === "request-id" && value.startsWith("req_"))) return false;
  if (statusOf(startLine) < 400) return false;
  if (body.length === 0) return true;
  const error: unknown = JSON.parse(body.toString());
  return typeof error === "object" && error !== null && "type" in error && error.type === "error";
}

/** The target once nothing is open any more, or as it is when that does not come. */
async function settled(): Promise<TargetState> {
  const end = performance.now() + PATIENCE_MS;
  const rows: Record<string, number> = {};
  for (;;) {
    target.send("state");
    const [state] = (await once(target, "message")) as [TargetState];
    Object.assign(rows, state.rows);
    if (state.openCalls + state.liveCalls + state.connections === 0 || performance.now() > end)
      return { ...state, rows };
    await new Promise((next) => setTimeout(next, 20));
  }
}
