import { setTimeout as delay } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";
import { seeded } from "../../lib/simulator/seeded.ts";
import { type Simulator, startSimulator } from "../../lib/simulator/simulator.ts";
import { CLASSES, type TrafficClass } from "../../lib/traffic/schema.ts";
import { startServer, type TestServer } from "../support/server.ts";

const MODEL = "claude-sonnet-5-5";
const POOL = "sonnet-5.5";
const LIMITS = { requests: 1_000, input_tokens: 450_000, output_tokens: 90_000 };
const LOAD = 3;
/** Agents of each class, and the share of the token load that they hold together. */
const SHARES: Record<TrafficClass, { agents: number; share: number }> = {
  critical: { agents: 2, share: 0.05 },
  high: { agents: 4, share: 0.2 },
  normal: { agents: 8, share: 0.45 },
  low: { agents: 10, share: 0.3 },
};
const MEDIAN_OUTPUT = [90, 220, 420, 800, 1_500];
const TOKENS_PER_SECOND = 60;

export type LiveRun = {
  scenario: string;
  seconds: number;
  sends: number;
  upstream429: number;
  client429: number;
  /**
   * Calls that an agent did not get whole while it was measured, by status. `broken` are connections that ended before an
   * answer began, `cut` those that ended in its midst, which no fail-over can mend, `impatient` clients that gave up: Node's
   * fetch does when it has waited for a head for five minutes, whatever the SDK's own time-out.
   */
  clientFailures: Record<string, number>;
  /** Those of before. */
  warmUp429: number;
  goodput: number;
  waitS: Record<TrafficClass, { p50: number; p99: number; calls: number }>;
};

/**
 * Real sockets: the official SDK in 24 closed-loop agents, the server as a process of its own, the simulator as the
 * upstream. Scenarios: plain; foreign, in which others take a fifth of the limit unseen; halved, in which the limit
 * halves in mid-run; dying, in which a second upstream serves too and the first dies in mid-run.
 */
export async function runLiveAdmissionBench(args: string[]): Promise<{ runs: LiveRun[] }> {
  const at = args.indexOf("--seconds");
  const seconds = at < 0 ? 300 : Number(args[at + 1]);
  const named = args.indexOf("--scenario");
  const scenarios = named < 0 ? ["plain", "foreign", "halved", "dying"] : [args[named + 1] ?? "plain"];
  const runs: LiveRun[] = [];
  for (const scenario of scenarios) {
    const run = await runScenario(scenario, seconds);
    runs.push(run);
    print(run);
  }
  return { runs };
}

async function runScenario(scenario: string, seconds: number): Promise<LiveRun> {
  const simulator = await simulate("one");
  const second = scenario === "dying" ? await simulate("two") : null;
  const env = { ANTHROPIC_API_KEY: "sk-ant-bench" };
  const server = await startServer({ upstreamUrl: simulator.url, ...(second ? { env } : {}) });
  const keyOf = second ? await agentKeys(server, second.url) : () => "sk-ant-bench";
  const stop = new AbortController();
  const waits = Object.fromEntries(CLASSES.map((name) => [name, [] as number[]])) as Record<TrafficClass, number[]>;
  const clientFailures: LiveRun["clientFailures"] = {};
  let warmUp429 = 0;
  const measuredFromMs = performance.now() + Math.min(60_000, seconds * 250);
  const agents = CLASSES.flatMap((name) =>
    Array.from({ length: SHARES[name].agents }, (_, index) =>
      agent({ name, index, url: server.url, key: keyOf(name, index), signal: stop.signal }, (outcome) => {
        if (performance.now() < measuredFromMs) {
          if (outcome.failed === "429") warmUp429 += 1;
        } else if (outcome.failed === undefined) waits[name].push(outcome.waitMs / 1000);
        else clientFailures[outcome.failed] = (clientFailures[outcome.failed] ?? 0) + 1;
      }),
    ),
  );
  const others = { output: 0 };
  const foreign = scenario === "foreign" ? drainUnseen(simulator, others, stop.signal) : Promise.resolve();
  await delay(measuredFromMs - performance.now());
  const before = reading(simulator, others);
  const secondBefore = second && reading(second);
  await delay((seconds * 1000) / 2);
  if (scenario === "halved") {
    simulator.setLimits({ [POOL]: { requests: 500, input_tokens: 225_000, output_tokens: 45_000 } });
  }
  const died = second && reading(simulator);
  if (second) await simulator.close();
  await delay((seconds * 1000) / 2);
  const after = died ?? reading(simulator, others);
  const secondAfter = second && reading(second);
  stop.abort();
  await Promise.allSettled([...agents.flat(), foreign]);
  await server.stop();
  if (!second) await simulator.close();
  await second?.close();
  const part = { halved: 0.75, dying: 0.5 }[scenario] ?? 1;
  const spans = [used(before, after, seconds * part)];
  if (secondBefore && secondAfter) spans.push(used(secondBefore, secondAfter, seconds));
  const sum = (of: keyof Used) => spans.reduce((total, span) => total + span[of], 0);
  return {
    ...{ scenario, seconds, client429: clientFailures["429"] ?? 0, clientFailures, warmUp429, sends: sum("sends") },
    upstream429: sum("refused") / Math.max(1, sum("sends")),
    goodput: sum("output") / sum("given"),
    waitS: Object.fromEntries(
      CLASSES.map((name) => [
        name,
        { p50: quantile(waits[name], 0.5), p99: quantile(waits[name], 0.99), calls: waits[name].length },
      ]),
    ) as LiveRun["waitS"],
  };
}

function simulate(organization: string): Promise<Simulator> {
  return startSimulator({
    ...{ limits: { [POOL]: LIMITS }, organizationId: `org-${organization}` },
    ...{ seed: 1, tokensPerSecond: TOKENS_PER_SECOND, firstTokenMs: 600, ledgerCapacity: 1_000_000 },
  });
}

/** Calls with a caller's own credential cannot move to another upstream: here every agent has a key. */
async function agentKeys(
  server: TestServer,
  secondUrl: string,
): Promise<(name: TrafficClass, index: number) => string> {
  await server.api("/api/upstreams", { name: "second", baseUrl: secondUrl, apiKey: "sk-ant-second" });
  const keys = new Map<string, string>();
  for (const name of CLASSES) {
    for (let index = 0; index < SHARES[name].agents; index += 1) {
      const created = await server.api<{ secret: string }>("/api/agents", { name: `${name}-${index}` });
      keys.set(`${name}-${index}`, created.secret);
    }
  }
  return (name, index) => keys.get(`${name}-${index}`) ?? "";
}

/** How a call ended for the agent: after which wait, or as which failure. */
type Outcome = { waitMs: number; failed?: undefined } | { failed: string };

/** One agent: as many workers as its share of the load needs, each sending the next call when the last is answered. */
function agent(
  {
    name,
    index,
    url,
    key,
    signal,
  }: Record<"url" | "key", string> & {
    name: TrafficClass;
    index: number;
    signal: AbortSignal;
  },
  told: (outcome: Outcome) => void,
): Promise<void>[] {
  const median = MEDIAN_OUTPUT[(index + CLASSES.indexOf(name)) % 5] ?? 420;
  const { agents, share } = SHARES[name];
  const perSecond = ((LOAD * LIMITS.output_tokens) / 60) * (share / agents) * (1 / (median * 1.5));
  const workers = Math.max(1, Math.round(perSecond * (3 + (median * 1.5) / TOKENS_PER_SECOND)));
  const random = seeded(1_000 * CLASSES.indexOf(name) + index);
  const client = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0, timeout: 600_000 });
  return Array.from({ length: workers }, async () => {
    while (!signal.aborted) {
      const output = Math.max(20, Math.round(median * Math.exp((random() + random() + random() - 1.5) * 1.2)));
      const headers = {
        "x-headroom-class": name,
        "x-headroom-agent": `${name}-${index}`,
        "x-headroom-deadline-ms": "540000",
        "x-simulator-output-tokens": String(output),
        "x-simulator-input-tokens": String(Math.round(600 + 2_400 * random())),
      };
      const request = { model: MODEL, max_tokens: 8_192, messages: [{ role: "user" as const, content: "go" }] };
      let last: string | null = null;
      try {
        const stream = await client.messages.create({ ...request, stream: true }, { headers, signal }).withResponse();
        last = "";
        for await (const event of stream.data) last = event.type;
        // The library takes a stream that ends too early for a whole one.
        if (last === "message_stop") told({ waitMs: Number(stream.response.headers.get("x-headroom-wait-ms")) });
        else if (!signal.aborted) told({ failed: "cut" });
      } catch (error) {
        if (!signal.aborted) told({ failed: failureOf(error) ?? (last === null ? "broken" : "cut") });
        await delay(500, undefined, { signal }).catch(() => {});
      }
      await delay(-Math.log(1 - random()) * 2_000, undefined, { signal }).catch(() => {});
    }
  });
}

/** By the status that the agent saw: of an error within a stream by its type, for its status was 200. */
function failureOf(error: unknown): string | null {
  if (error instanceof Anthropic.APIConnectionTimeoutError) return "impatient";
  if (!(error instanceof Anthropic.APIError)) return null;
  return error.status === undefined ? error.type : String(error.status);
}

/** A second consumer of the organisation's limits that Headroom does not see; `others` counts what it takes. */
async function drainUnseen(simulator: Simulator, others: { output: number }, signal: AbortSignal): Promise<void> {
  const output = 0.2 * (LIMITS.output_tokens / 60);
  while (!signal.aborted) {
    simulator.drain(POOL, { requests: 1, input_tokens: 900, output_tokens: output });
    others.output += output;
    await delay(1_000, undefined, { signal }).catch(() => {});
  }
}

/** `output` is what the bucket gave to calls, those under way with what they have produced; `others` what else it gave. */
type Reading = { sends: number; refused: number; output: number; others: number; level: number };
type Used = { sends: number; refused: number; output: number; given: number };

/** `given` is what calls could have had: the refill and what was taken off the level, less what went to others. */
function used(before: Reading, after: Reading, seconds: number): Used {
  const refill = (LIMITS.output_tokens / 60) * seconds;
  return {
    sends: after.sends - before.sends,
    refused: after.refused - before.refused,
    output: after.output - before.output,
    given: refill + before.level - after.level - (after.others - before.others),
  };
}

function reading(simulator: Simulator, { output: others } = { output: 0 }): Reading {
  const { calls, byStatus } = simulator.ledger.sums;
  const { level, taken } = simulator.levels()[POOL]?.output_tokens ?? { level: 0, taken: 0 };
  return { sends: calls, refused: byStatus["429"] ?? 0, output: taken - others, others, level };
}

function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0) * 1000) / 1000;
}

function print({ scenario, seconds, sends, upstream429, goodput, waitS, ...run }: LiveRun): void {
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  console.log(
    `${scenario}, ${seconds} s: ${sends} sends, upstream 429 ${percent(upstream429)}, client 429 ${run.client429}, goodput ${percent(goodput)}`,
  );
  const failures = Object.entries(run.clientFailures).map(([status, count]) => `${count} x ${status}`);
  console.log(
    `  calls that failed for a client: ${failures.join(", ") || "none"}; 429s of the warm-up: ${run.warmUp429}`,
  );
  for (const name of CLASSES) {
    const { p50, p99, calls } = waitS[name];
    console.log(`  ${name.padEnd(8)} ${String(calls).padStart(6)} calls   wait p50 ${p50} s   p99 ${p99} s`);
  }
}
