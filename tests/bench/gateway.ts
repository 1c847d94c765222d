import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { messageOf } from "../../lib/kit/errors.ts";
import {
  type Contestant,
  NAMES,
  type Name,
  startHeadroom,
  startPortkey,
  startProxy,
  startUpstream,
} from "./gateway-contestants.ts";
import { drive, KINDS, type Kind, pace, rssWithOpenStreams } from "./gateway-load.ts";

/** Null for a peer that could not be installed. */
type Figures = Record<Kind, Record<Name, number | null>>;

export type GatewayBench = {
  /** CPU microseconds a call of the process under test, as the operating system accounts them; medians of the rounds. */
  cpuPerCallUs: Figures;
  /** With 16 callers, on a machine that load, proxy and upstream share. */
  callsPerSecond: Figures;
  /** What Headroom adds to a call at 200 calls a second. */
  addedMs: { p50: number; p99: number };
  /** The same to the first byte of a stream. */
  addedFirstByteMs: { p50: number; p99: number };
  /** Of Headroom's web process, dashboard included. */
  rssMb: { idle: number; streams1000: number };
};

/** Many, so that what a server does each second whether it is called or not weighs little in the price of a call. */
const CALLS: Record<Kind, number> = { plain: 20_000, streamed: 5_000, body1mb: 500 };
/** Before anything is measured: until then the compiler is at work, which a server that runs for days has behind it. */
const WARM_UP_CALLS: Record<Kind, number> = { plain: 12_000, streamed: 4_000, body1mb: 400 };
/** Portkey is slow enough that fewer calls take it as long. */
const SHARES: Partial<Record<Name, number>> = { portkey: 0.25 };
const PER_SECOND = 200;
const PACED_CALLS = 1_000;
const STREAMS = 1_000;

const SWITCHED_ON = `\
direct    the mock upstream called without anything between: what a call costs the upstream itself
proxy     a bare proxy in 20 lines of Node http + undici
portkey   Portkey 1.15.2, headless, with hono 4.9.7 and @hono/node-server 1.13.5: no key, no limit, no log
headroom  server.ts as "npm start" runs it: agent key, traffic control, metering, spool, recording into the embedded
          database, alert evaluation, dashboard. CPU is that of the web process, with what it does for each call after
          the answer; the database's own process is listed apart`;

/**
 * Runs the contestants side by side, in turn, in several rounds, prints tables, and returns the figures. Takes
 * `--rounds N` (3), `--scale X` (1: how many calls), `--profile DIR` (a CPU profile of Headroom).
 */
export async function runGatewayBench(args: string[]): Promise<GatewayBench> {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: "string", default: "3" },
      scale: { type: "string", default: "1" },
      profile: { type: "string" },
    },
  });
  const rounds = Math.max(1, Math.round(Number(values.rounds)) || 3);
  const scale = Number(values.scale) || 1;
  const profile = values.profile ? ["--cpu-prof", "--cpu-prof-dir", values.profile] : [];
  const running: Contestant[] = [];
  try {
    const upstream = await startUpstream();
    running.push(upstream, await startProxy(upstream.url));
    await startPortkey(upstream.url).then(
      (portkey) => running.push(portkey),
      (error: unknown) => console.log(`Portkey is left out: ${messageOf(error)}`),
    );
    const headroom = await startHeadroom(upstream.url, profile);
    running.push(headroom);
    const idle = (await headroom.usage()).rssBytes;
    const [cpu] = cpus();
    console.log(
      `\nNode ${process.version}, ${cpus().length} × ${cpu?.model ?? "?"}, ${rounds} rounds\n\n${SWITCHED_ON}\n`,
    );

    const load = await measureLoad(running, rounds, scale);
    const latency = await measureLatency(running, rounds, scale);
    const streams1000 = await rssWithOpenStreams(headroom, STREAMS);
    return report(running, load, latency, { idle, streams1000 });
  } finally {
    // Headroom may still have to write to its database; the upstream is the last to go.
    for (const contestant of running.reverse()) await contestant.stop();
  }
}

type Load = Record<"cpuUs" | "callsPerSecond" | "helpersCpuUs", Record<Kind, Record<Name, number[]>>>;
type Latency = Record<"plain" | "streamed", Record<Name, { p50: number[]; p99: number[] }>>;

/** A round takes all in turn, so that what else the machine does falls on all alike. */
async function measureLoad(running: readonly Contestant[], rounds: number, scale: number): Promise<Load> {
  const figures = (): Record<Kind, Record<Name, number[]>> => byKind(() => byName<number[]>(() => []));
  const load: Load = { cpuUs: figures(), callsPerSecond: figures(), helpersCpuUs: figures() };
  for (const kind of KINDS) {
    for (const contestant of running) {
      await drive(contestant, kind, Math.ceil(WARM_UP_CALLS[kind] * scale * (SHARES[contestant.name] ?? 1)));
    }
  }
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of KINDS) {
      for (const contestant of running) {
        const { name } = contestant;
        const measured = await drive(contestant, kind, Math.ceil(CALLS[kind] * scale * (SHARES[name] ?? 1)));
        load.cpuUs[kind][name].push(measured.cpuUs);
        load.callsPerSecond[kind][name].push(measured.callsPerSecond);
        if (measured.helpersCpuUs !== null) load.helpersCpuUs[kind][name].push(measured.helpersCpuUs);
      }
    }
  }
  return load;
}

async function measureLatency(running: readonly Contestant[], rounds: number, scale: number): Promise<Latency> {
  const figures = () => byName(() => ({ p50: [] as number[], p99: [] as number[] }));
  const latency: Latency = { plain: figures(), streamed: figures() };
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of ["plain", "streamed"] as const) {
      for (const contestant of running) {
        const times = await pace(contestant, kind, PER_SECOND, Math.ceil(PACED_CALLS * scale));
        times.sort((a, b) => a - b);
        const { p50, p99 } = latency[kind][contestant.name];
        p50.push(times[Math.floor(times.length * 0.5)] ?? 0);
        p99.push(times[Math.floor(times.length * 0.99)] ?? 0);
      }
    }
  }
  return latency;
}

function report(
  running: readonly Contestant[],
  load: Load,
  latency: Latency,
  rss: { idle: number; streams1000: number },
): GatewayBench {
  const names = new Set(running.map(({ name }) => name));
  const figures = (measured: Record<Kind, Record<Name, number[]>>): Figures =>
    byKind((kind) => byName((name) => (names.has(name) ? Math.round(median(measured[kind][name])) : null)));
  const cpuPerCallUs = figures(load.cpuUs);
  const callsPerSecond = figures(load.callsPerSecond);
  const ratios = KINDS.map((kind) => {
    const { proxy, portkey, headroom } = cpuPerCallUs[kind];
    return [kind, { "÷ proxy": ratio(headroom, proxy), "÷ portkey": ratio(headroom, portkey) }] as const;
  });
  const added = (kind: "plain" | "streamed") => {
    const { direct, headroom } = latency[kind];
    const of = (share: "p50" | "p99") => round(median(headroom[share]) - median(direct[share]));
    return { p50: of("p50"), p99: of("p99") };
  };
  const result: GatewayBench = {
    cpuPerCallUs,
    callsPerSecond,
    addedMs: added("plain"),
    addedFirstByteMs: added("streamed"),
    rssMb: { idle: toMb(rss.idle), streams1000: toMb(rss.streams1000) },
  };
  console.log("CPU microseconds a call");
  console.table(cpuPerCallUs);
  console.log("Headroom's as a multiple");
  console.table(Object.fromEntries(ratios));
  console.log("CPU microseconds a call of Headroom's database process");
  console.table(byKind((kind) => ({ database: Math.round(median(load.helpersCpuUs[kind].headroom)) })));
  console.log("Calls a second with 16 callers");
  console.table(callsPerSecond);
  for (const kind of ["plain", "streamed"] as const) {
    console.log(
      `Milliseconds to the ${kind === "plain" ? "end of a plain answer" : "first byte of a stream"} at ${PER_SECOND} calls a second`,
    );
    const rows = NAMES.filter((name) => names.has(name)).map((name) => {
      const { p50, p99 } = latency[kind][name];
      return [name, { p50: round(median(p50)), p99: round(median(p99)) }] as const;
    });
    console.table(Object.fromEntries(rows));
  }
  console.log(
    `Headroom's resident memory: ${result.rssMb.idle} MB idle, ${result.rssMb.streams1000} MB with ${STREAMS} open streams\n`,
  );
  return result;
}

function byKind<Value>(make: (kind: Kind) => Value): Record<Kind, Value> {
  return { plain: make("plain"), streamed: make("streamed"), body1mb: make("body1mb") };
}

function byName<Value>(make: (name: Name) => Value): Record<Name, Value> {
  return { direct: make("direct"), proxy: make("proxy"), portkey: make("portkey"), headroom: make("headroom") };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function ratio(value: number | null, of: number | null): number | null {
  return value === null || of === null || of === 0 ? null : round(value / of);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function toMb(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
