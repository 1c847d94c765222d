import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";

/** What one server cost for one kind of call: CPU microseconds a call, the median of the rounds. */
type Cost = { plain: number; stream: number; upload1mb: number };

export type GatewayBench = {
  bench: "gateway";
  machine: { node: string; cpus: number; model: string };
  /** CPU microseconds a call of the process under test. */
  cpuMicroseconds: { upstream: Cost; bare: Cost; gateway: Cost };
  /** The gateway's CPU as a multiple of the bare proxy's, of the same run. The bar is 2. */
  ratioToBare: Cost;
  /** Milliseconds at 200 calls a second, and what the gateway adds. */
  latencyMs: Record<"direct" | "gateway" | "added", { p50: number; p99: number }>;
  rssMb: number;
};

type Kind = keyof Cost;
type Server = { url: string; secret: string; child: ChildProcess };

const CALLS: Record<Kind, number> = { plain: 2_000, stream: 800, upload1mb: 150 };
const ROUNDS = 3;
const CONCURRENCY = 16;
const PACE_CALLS = 1_000;

const SMALL = JSON.stringify({
  model: "claude-opus-5-5",
  max_tokens: 1024,
  system: "You are careful.",
  messages: [{ role: "user", content: "Say something of use. ".repeat(40) }],
});
const LARGE = JSON.stringify({
  model: "claude-opus-5-5",
  max_tokens: 1024,
  messages: Array.from({ length: 64 }, () => ({ role: "user", content: 'const a = "b";\n'.repeat(900) })),
});

/** Measures the gateway beside a bare proxy, prints a table, and returns the figures. */
export async function runGatewayBench(): Promise<GatewayBench> {
  const upstream = await start("upstream");
  const servers: Server[] = [upstream];
  try {
    const bare = await start("bare", upstream.url);
    servers.push(bare);
    const gateway = await start("gateway", upstream.url);
    servers.push(gateway);

    const costs = { upstream: emptyCosts(), bare: emptyCosts(), gateway: emptyCosts() };
    const under: [keyof typeof costs, Server][] = [
      ["upstream", upstream],
      ["bare", bare],
      ["gateway", gateway],
    ];
    // A round takes all three in turn, so that what else the machine does falls on all alike.
    for (let round = -1; round < ROUNDS; round += 1) {
      for (const kind of ["plain", "stream", "upload1mb"] as const) {
        for (const [name, server] of under) {
          const cost = await measure(server, kind, CALLS[kind]);
          if (round >= 0) costs[name][kind].push(cost);
        }
      }
    }
    const result: GatewayBench = {
      bench: "gateway",
      machine: { node: process.version, cpus: cpus().length, model: cpus()[0]?.model ?? "" },
      cpuMicroseconds: {
        upstream: medians(costs.upstream),
        bare: medians(costs.bare),
        gateway: medians(costs.gateway),
      },
      ratioToBare: { plain: 0, stream: 0, upload1mb: 0 },
      latencyMs: await latencies(upstream, gateway),
      rssMb: Math.round((await usage(gateway)).rssBytes / 1024 / 1024),
    };
    for (const kind of ["plain", "stream", "upload1mb"] as const) {
      const ratio = result.cpuMicroseconds.gateway[kind] / result.cpuMicroseconds.bare[kind];
      result.ratioToBare[kind] = Math.round(ratio * 100) / 100;
    }
    console.table({ ...result.cpuMicroseconds, "gateway ÷ bare": result.ratioToBare });
    console.table(result.latencyMs);
    return result;
  } finally {
    for (const { child } of servers) child.disconnect();
  }
}

function emptyCosts(): Record<Kind, number[]> {
  return { plain: [], stream: [], upload1mb: [] };
}

function medians(costs: Record<Kind, number[]>): Cost {
  return { plain: median(costs.plain), stream: median(costs.stream), upload1mb: median(costs.upload1mb) };
}

async function start(role: string, target = ""): Promise<Server> {
  const child = fork(fileURLToPath(new URL("./gateway-process.ts", import.meta.url)), [role, target]);
  const [ready] = await once(child, "message");
  return { url: ready.url, secret: ready.secret, child };
}

async function usage({ child }: Server): Promise<{ microseconds: number; rssBytes: number }> {
  child.send("cpu");
  const [answer] = await once(child, "message");
  return answer;
}

async function measure(server: Server, kind: Kind, calls: number): Promise<number> {
  const pool = new Pool(server.url, { connections: CONCURRENCY });
  const before = (await usage(server)).microseconds;
  let left = calls;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      await call(pool, server, kind);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  const after = (await usage(server)).microseconds;
  await pool.close();
  return (after - before) / calls;
}

async function call(pool: Pool, { secret }: Server, kind: Kind): Promise<void> {
  const { statusCode, body } = await pool.request({
    path: "/v1/messages",
    method: "POST",
    headers: {
      authorization: `Bearer ${secret || "sk-ant-direct"}`,
      "content-type": "application/json",
      "anthropic-version": "2026-10-21",
      "user-agent": "Anthropic/JS 1.12.0",
      "x-stainless-lang": "js",
      "x-stainless-package-version": "1.12.0",
      "x-bench": kind,
    },
    body: kind === "upload1mb" ? LARGE : SMALL,
  });
  await body.dump({ limit: 10_000_000 });
  if (statusCode !== 200) throw new Error(`a call of the benchmark was answered with ${statusCode}`);
}

/** Calls at even intervals, whether or not those before have ended: what a client sees, not what a server can bear. */
async function latencies(upstream: Server, gateway: Server): Promise<GatewayBench["latencyMs"]> {
  const direct = await paced(upstream);
  const through = await paced(gateway);
  const added = { p50: round(through.p50 - direct.p50), p99: round(through.p99 - direct.p99) };
  return { direct, gateway: through, added };
}

async function paced(server: Server): Promise<{ p50: number; p99: number }> {
  const pool = new Pool(server.url, {});
  const times: number[] = [];
  const calls: Promise<void>[] = [];
  const startedAt = performance.now();
  for (let index = 0; index < PACE_CALLS; index += 1) {
    const wait = startedAt + index * 5 - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    const sentAt = performance.now();
    calls.push(
      call(pool, server, "plain").then(() => {
        times.push(performance.now() - sentAt);
      }),
    );
  }
  await Promise.all(calls);
  await pool.close();
  times.sort((a, b) => a - b);
  const at = (share: number) => round(times[Math.floor(times.length * share)] ?? 0);
  return { p50: at(0.5), p99: at(0.99) };
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
