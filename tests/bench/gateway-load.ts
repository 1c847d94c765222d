import { setTimeout as pause } from "node:timers/promises";
import { Client, type Dispatcher, Pool } from "undici";
import type { Contestant } from "./gateway-contestants.ts";

/** plain: a short prompt, a plain answer. streamed: the same as a stream of 54 events. body1mb: a megabyte of code. */
export const KINDS = ["plain", "streamed", "body1mb"] as const;
export type Kind = (typeof KINDS)[number];

const CONCURRENCY = 16;

const HEAD = { model: "claude-opus-5-5", max_tokens: 1024, system: "You are careful." };
const PROMPT = [{ role: "user", content: "Say something of use. ".repeat(40) }];
const BODIES: Record<Kind, string> = {
  plain: JSON.stringify({ ...HEAD, messages: PROMPT }),
  streamed: JSON.stringify({ ...HEAD, messages: PROMPT, stream: true }),
  body1mb: JSON.stringify({
    ...HEAD,
    messages: Array.from({ length: 64 }, () => ({ role: "user", content: 'const a = "b";\n'.repeat(900) })),
  }),
};

/** As many calls as 16 callers get done, each beginning the next when it has its answer. */
export async function drive(
  contestant: Contestant,
  kind: Kind,
  calls: number,
): Promise<{ cpuUs: number; helpersCpuUs: number | null; callsPerSecond: number }> {
  const pool = new Pool(contestant.url, { connections: CONCURRENCY });
  const before = await contestant.usage();
  const helpersBefore = contestant.helpersCpuUs();
  const startedAt = performance.now();
  let left = calls;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      await call(pool, contestant, kind);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  const seconds = (performance.now() - startedAt) / 1000;
  await contestant.settle();
  const after = await contestant.usage();
  const helpersAfter = contestant.helpersCpuUs();
  await pool.close();
  return {
    cpuUs: (after.cpuUs - before.cpuUs) / calls,
    helpersCpuUs: helpersAfter === null || helpersBefore === null ? null : (helpersAfter - helpersBefore) / calls,
    callsPerSecond: calls / seconds,
  };
}

/**
 * Calls at even intervals, whether or not those before have ended: what a caller sees, not what a server can bear.
 * Milliseconds to the end of each plain answer, or to the first byte of each stream's body.
 */
export async function pace(contestant: Contestant, kind: Kind, perSecond: number, calls: number): Promise<number[]> {
  const pool = new Pool(contestant.url, { connections: null });
  const times: number[] = [];
  const open: Promise<void>[] = [];
  const startedAt = performance.now();
  for (let index = 0; index < calls; index += 1) {
    const wait = startedAt + (index * 1000) / perSecond - performance.now();
    if (wait > 0) await pause(wait);
    const sentAt = performance.now();
    const told = call(pool, contestant, kind).then(({ firstByteAt, endedAt }) => {
      times.push((kind === "streamed" ? firstByteAt : endedAt) - sentAt);
    });
    open.push(told);
  }
  await Promise.all(open);
  await pool.close();
  return times;
}

/** Resident memory with as many streams open at a time, none of which ends. */
export async function rssWithOpenStreams(contestant: Contestant, streams: number): Promise<number> {
  const clients: Client[] = [];
  const opened: Promise<void>[] = [];
  for (let index = 0; index < streams; index += 1) {
    const client = new Client(contestant.url, { bodyTimeout: 0, headersTimeout: 0 });
    clients.push(client);
    opened.push(
      new Promise((resolve, reject) => {
        client.dispatch(request(contestant, "streamed", { "x-bench-hold": "1" }), {
          onRequestStart() {},
          onResponseStart() {},
          onResponseData: () => resolve(),
          onResponseEnd: () => reject(new Error("a stream that was to be held has ended")),
          onResponseError: (_, error) => reject(error),
        });
      }),
    );
    if (index % 100 === 99) await Promise.all(opened);
  }
  await Promise.all(opened);
  await pause(3_000);
  const { rssBytes } = await contestant.usage();
  for (const promise of opened) promise.catch(() => {});
  await Promise.all(clients.map((client) => client.destroy()));
  return rssBytes;
}

function request(contestant: Contestant, kind: Kind, more: Record<string, string> = {}): Dispatcher.DispatchOptions {
  return {
    path: "/v1/messages",
    method: "POST",
    headers: {
      ...contestant.headers,
      "content-type": "application/json",
      "anthropic-version": "2023-06-01",
      "user-agent": "Anthropic/JS 1.12.0",
      "x-stainless-lang": "js",
      "x-stainless-package-version": "1.12.0",
      ...more,
    },
    body: BODIES[kind],
  };
}

function call(pool: Pool, contestant: Contestant, kind: Kind): Promise<{ firstByteAt: number; endedAt: number }> {
  return new Promise((resolve, reject) => {
    let status = 0;
    let bytes = 0;
    let firstByteAt = 0;
    pool.dispatch(request(contestant, kind), {
      onRequestStart() {},
      onResponseStart(_, statusCode) {
        status = statusCode;
      },
      onResponseData(_, chunk) {
        if (bytes === 0) firstByteAt = performance.now();
        bytes += chunk.length;
      },
      onResponseEnd() {
        if (status === 200 && bytes > 0) resolve({ firstByteAt, endedAt: performance.now() });
        else reject(new Error(`${contestant.name} answered a ${kind} call with ${status} and ${bytes} bytes`));
      },
      onResponseError: (_, error) => reject(error),
    });
  });
}
